#define KD_HEADER
#include "anygraph.c"
#undef KD_HEADER
