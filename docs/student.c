/* What the page student.html calls: the students of exports/, and room for one task.
 * docs/student_data.py compiles this file and the students into docs/_static/student_data.js. */
#define KD_HEADER
#include "../exports/anygraph.c"
#undef KD_HEADER
#include "../exports/student_dag.h"

#define SHOWN(name) __attribute__((export_name(name)))

static kd_graph_t graph;
static kd_workspace_t workspace;
static kd_decision_t decision;
static double task[KD_MAX_SUBTASKS + KD_MAX_EDGES + 8];
static int pairs[2 * KD_MAX_EDGES], bad;
static unsigned char placement[KD_MAX_SUBTASKS];

SHOWN("task") double *get_task(void) { return task; }
SHOWN("pairs") int *get_pairs(void) { return pairs; }
SHOWN("placement") unsigned char *get_placement(void) { return placement; }

SHOWN("graph") int set_graph(int n, int edges) { return kd_graph(n, edges, pairs, &graph, &bad); }
SHOWN("anygraph") int any(void)
{
    return kd_decide(&graph, task, 0, placement, &decision, &workspace, &bad);
}
SHOWN("bound") double get_bound(void) { return decision.bound; }
SHOWN("proven") int is_proven(void) { return decision.is_proven; }
SHOWN("student_dag") int dag(void) { return student_dag_decide(task, placement, &bad); }
