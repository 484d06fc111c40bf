#ifndef STUDENT_FUSION_H
#define STUDENT_FUSION_H
#ifdef __cplusplus
extern "C" {
#endif

enum { STUDENT_FUSION_N = 20, STUDENT_FUSION_F = 58 };
enum { STUDENT_FUSION_OK = 0, STUDENT_FUSION_NOT_FINITE = 1, STUDENT_FUSION_NOT_POSITIVE = 2 };

extern const char *const student_fusion_feature_names[STUDENT_FUSION_F];

/* OK and the placement (N) of a task (F) in SI units; or an error code, and nothing is touched but
 * *feature, the index of the bad value, if feature is not null. */
int student_fusion_decide(const double *task, unsigned char *placement, int *feature);

/* Index + 1 of the first feature outside the training range, or 0. Such a task is decided all the
 * same. */
int student_fusion_outside(const double *task);

#ifdef __cplusplus
}
#endif
#endif
