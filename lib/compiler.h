/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the language lacks: attributes, sizes, static checks. Everybody includes
 * this; it includes nothing of ours.
 */
#ifndef LIB_COMPILER_H
#define LIB_COMPILER_H

#include <assert.h>
#include <stddef.h>

/* The caller must look at the result. */
#define MUST_CHECK __attribute__((warn_unused_result))
/* Argument fmt is a printf format, its arguments start at first (0: a va_list). */
#define PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))
#define COLD __attribute__((cold))
#define FALLTHROUGH __attribute__((fallthrough))

/*
 * Returns memory that only free_fn(ptr) may take back, to be looked at. clang
 * does not know the form.
 */
#if defined(__GNUC__) && !defined(__clang__)
#define ALLOCATES(free_fn) __attribute__((malloc, malloc(free_fn, 1), warn_unused_result))
#else
#define ALLOCATES(free_fn) __attribute__((malloc, warn_unused_result))
#endif

/* 0, or a compile error when cond does not hold; for use inside expressions. */
#define ZERO_IF(cond)                        \
	(0 * sizeof(struct {                 \
		 int unused;                 \
		 static_assert(cond, #cond); \
	 }))

#define IS_ARRAY(a) (!__builtin_types_compatible_p(__typeof__(a), __typeof__(&(a)[0])))
/* Number of elements; a pointer does not compile. */
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]) + ZERO_IF(IS_ARRAY(a)))

#define SIZEOF_FIELD(type, field) sizeof(((type *)0)->field)
/* For layouts that leave the process: states the size where the struct is declared. */
#define ASSERT_SIZE(type, bytes) static_assert(sizeof(type) == (bytes), #type " is not " #bytes)

/* The struct of this type whose field ptr points to. */
#define container_of(ptr, type, field)                                             \
	((type *)(void *)((char *)(ptr)-offsetof(type, field) +                    \
			  ZERO_IF(__builtin_types_compatible_p(__typeof__(*(ptr)), \
							       __typeof__(((type *)0)->field)))))

/* Each argument is evaluated once; both must have the same type. May be nested. */
#undef MIN
#undef MAX
#ifdef __cppcheck__ /* 2.10 does not parse the real ones in an initialiser */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#else
#define MIN(a, b) PICK__(a, b, <, __COUNTER__)
#define MAX(a, b) PICK__(a, b, >, __COUNTER__)
#endif
#define PICK__(a, b, op, id) PICK_ID__(a, b, op, id)
#define PICK_ID__(a, b, op, id)                                                      \
	__extension__({                                                              \
		__auto_type pick_a_##id = (a);                                       \
		__auto_type pick_b_##id = (b);                                       \
		static_assert(__builtin_types_compatible_p(__typeof__(pick_a_##id),  \
							   __typeof__(pick_b_##id)), \
			      "MIN and MAX want one type");                          \
		pick_a_##id op pick_b_##id ? pick_a_##id : pick_b_##id;              \
	})

#endif
