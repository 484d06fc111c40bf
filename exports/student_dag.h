#ifndef STUDENT_DAG_H
#define STUDENT_DAG_H
#ifdef __cplusplus
extern "C" {
#endif

enum { STUDENT_DAG_N = 10, STUDENT_DAG_F = 33 };
enum { STUDENT_DAG_OK = 0, STUDENT_DAG_NOT_FINITE = 1, STUDENT_DAG_NOT_POSITIVE = 2 };

extern const char *const student_dag_feature_names[STUDENT_DAG_F];

/* OK and the placement (N) of a task (F) in SI units; or an error code, and nothing is touched but
 * *feature, the index of the bad value, if feature is not null. */
int student_dag_decide(const double *task, unsigned char *placement, int *feature);

/* Index + 1 of the first feature outside the training range, or 0. Such a task is decided all the
 * same. */
int student_dag_outside(const double *task);

#ifdef __cplusplus
}
#endif
#endif
