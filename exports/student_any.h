#define KD_HEADER
#include "student_any.c"
#undef KD_HEADER
