/* EXPECT for tests in C and C++: prints which condition failed and where, and continues. */
#ifndef DICUBE_TESTS_EXPECT_H
#define DICUBE_TESTS_EXPECT_H

#include <stdio.h>

static int failures = 0;
static int checks = 0;

#define EXPECT(condition)                                                           \
    do {                                                                            \
        ++checks;                                                                   \
        if (!(condition)) {                                                         \
            ++failures;                                                             \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
        }                                                                           \
    } while (0)

static int report(void) {
    printf("%d checks, %d failed\n", checks, failures);
    return failures == 0 && checks > 0 ? 0 : 1;
}

#endif
