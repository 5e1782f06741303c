/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quantities with their unit, as people write them: "25ms", "64MiB". Pure. See conf.h. */
#include "lib/conf.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"

struct unit {
	const char *name;
	uint64_t scale;
};

/* The largest one last. */
static const struct unit durations[] = {
	{"ns", 1},	   {"us", NS_PER_US},	   {"ms", NS_PER_MS},
	{"s", NS_PER_SEC}, {"m", 60 * NS_PER_SEC}, {"h", 3600 * NS_PER_SEC},
};
static const struct unit sizes[] = {
	{"", 1},
	{"KiB", UINT64_C(1) << 10},
	{"MiB", UINT64_C(1) << 20},
	{"GiB", UINT64_C(1) << 30},
	{"TiB", UINT64_C(1) << 40},
};

static const struct unit *find_unit(const struct unit *units, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(units[i].name, name))
			return &units[i];
	}
	return NULL;
}

/*
 * digits[.digits] at *text, which is moved behind. The value is whole + part / part_scale.
 */
static int scan_number(const char **text, uint64_t *whole, uint64_t *part, uint64_t *part_scale)
{
	const char *p = *text;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (*whole = 0; isdigit((unsigned char)*p); p++) {
		if (__builtin_mul_overflow(*whole, 10, whole) ||
		    __builtin_add_overflow(*whole, (uint64_t)(*p - '0'), whole))
			return -ERANGE;
	}
	*part = 0;
	*part_scale = 1;
	if (*p == '.') {
		if (!isdigit((unsigned char)*++p))
			return -EINVAL;
		for (; isdigit((unsigned char)*p); p++) {
			if (*part_scale >= 1000000)
				return -ERANGE;
			*part_scale *= 10;
			*part = *part * 10 + (uint64_t)(*p - '0');
		}
	}
	*text = p;
	return 0;
}

static int parse(const char *text, const struct unit *units, size_t n, uint64_t *out)
{
	uint64_t whole;
	uint64_t part;
	uint64_t part_scale;
	const struct unit *unit;
	int rc = scan_number(&text, &whole, &part, &part_scale);

	if (rc < 0)
		return rc;
	text += strspn(text, " ");
	/* Nothing of whatever is nothing. */
	if (!*text && !whole && !part) {
		*out = 0;
		return 0;
	}
	unit = find_unit(units, n, text);
	if (!unit)
		return -EINVAL;
	/* part < 10^6 and no unit is above 2^42: that product fits. */
	if (__builtin_mul_overflow(whole, unit->scale, &whole) ||
	    __builtin_add_overflow(whole, part * unit->scale / part_scale, out))
		return -ERANGE;
	return 0;
}

int conf_parse_duration(const char *text, uint64_t *ns, struct err *e)
{
	int rc = parse(text, durations, ARRAY_SIZE(durations), ns);

	if (rc == -ERANGE)
		return err_setx(e, -EINVAL, "\"%.40s\" is out of all range for a time", text);
	if (rc < 0)
		return err_setx(
			e, rc,
			"\"%.40s\" is not a time: write a number and one of us, ms, s, m, h, "
			"such as \"50ms\"",
			text);
	return 0;
}

int conf_parse_size(const char *text, uint64_t *bytes, struct err *e)
{
	int rc = parse(text, sizes, ARRAY_SIZE(sizes), bytes);

	if (rc == -ERANGE)
		return err_setx(e, -EINVAL, "\"%.40s\" is out of all range for a size", text);
	if (rc < 0)
		return err_setx(e, rc,
				"\"%.40s\" is not a size: write a number and one of KiB, MiB, GiB, "
				"such as \"64MiB\"",
				text);
	return 0;
}

static const char *format(uint64_t v, const struct unit *units, size_t n, char *buf, size_t size)
{
	size_t i = n - 1;

	if (!v) {
		snprintf(buf, size, "0");
		return buf;
	}
	while (v % units[i].scale)
		i--;
	snprintf(buf, size, "%" PRIu64 "%s", v / units[i].scale, units[i].name);
	return buf;
}

const char *conf_format_duration(uint64_t ns, char *buf, size_t size)
{
	return format(ns, durations, ARRAY_SIZE(durations), buf, size);
}

const char *conf_format_size(uint64_t bytes, char *buf, size_t size)
{
	return format(bytes, sizes, ARRAY_SIZE(sizes), buf, size);
}
