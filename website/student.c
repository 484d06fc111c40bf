/* What the page student.html calls: the students of exports/, and room for one task.
 * `sh website/wasm.sh` compiles this file and the students into website/student.wasm. */
#define KD_HEADER
#include "../exports/anygraph.c"
#undef KD_HEADER
#include "../exports/student_dag.h"

#define SHOWN(name) __attribute__((export_name(name)))

static kd_graph_t graph;
static kd_workspace_t workspace;
static double task[KD_MOST + KD_MAX_EDGES + 8];
static int pairs[2 * KD_MAX_EDGES], bad;
static unsigned char placement[KD_MOST];
static const char sources[] = SOURCES; /* the digest of the C files, for the tests */

SHOWN("task") double *get_task(void) { return task; }
SHOWN("pairs") int *get_pairs(void) { return pairs; }
SHOWN("placement") unsigned char *get_placement(void) { return placement; }
SHOWN("sources") const char *get_sources(void) { return sources; }

SHOWN("graph") int set_graph(int n, int edges) { return kd_graph(n, edges, pairs, &graph, &bad); }
SHOWN("anygraph") int any(void) { return kd_decide(&graph, task, placement, &workspace, &bad); }
SHOWN("student_dag") int dag(void) { return student_dag_decide(task, placement, &bad); }
