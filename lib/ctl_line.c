/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See ctl_line.h. */
#include "lib/ctl_line.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/err.h"

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

static int check_bytes(const char *line, struct err *e)
{
	for (const char *p = line; *p; p++) {
		if (is_control(*p) && *p != '\t')
			return err_setx(e, -EINVAL, "control byte 0x%02x in the request",
					(unsigned char)*p);
	}
	return 0;
}

/* One word at *in, unquoted to where it starts; *in is moved behind. */
static int take_word(char **in, char **word, struct err *e)
{
	bool quoted = false;
	char *to = *in;
	char *p = *in;

	*word = to;
	for (; *p && (quoted || (*p != ' ' && *p != '\t')); p++) {
		if (*p == '"') {
			quoted = !quoted;
			continue;
		}
		if (*p == '\\' && !*++p)
			return err_setx(e, -EINVAL, "the request ends in a backslash");
		*to++ = *p;
	}
	if (quoted)
		return err_setx(e, -EINVAL, "a quote is not closed in the request");
	if (*p)
		p++;
	*to = 0;
	*in = p;
	return 0;
}

int ctl_split(char *line, char **argv, int max, struct err *e)
{
	int n = 0;
	int rc = check_bytes(line, e);

	while (!rc) {
		line += strspn(line, " \t");
		if (!*line)
			break;
		if (n == max)
			return err_setx(e, -E2BIG, "a request of more than %d words", max);
		rc = take_word(&line, &argv[n++], e);
	}
	if (rc < 0)
		return rc;
	argv[n] = NULL;
	return n;
}

static bool needs_quotes(const char *word)
{
	return !*word || strpbrk(word, " \t\"\\");
}

/* One byte, or false when it is full. */
static bool put(char *out, size_t size, size_t *len, char c)
{
	if (*len == size)
		return false;
	out[(*len)++] = c;
	return true;
}

static int join_word(const char *word, char *out, size_t size, size_t *len)
{
	bool quotes = needs_quotes(word);
	bool fits = !quotes || put(out, size, len, '"');

	for (; *word && fits; word++) {
		if (is_control(*word) && *word != '\t')
			return -EINVAL;
		if (*word == '"' || *word == '\\')
			fits = put(out, size, len, '\\');
		fits = fits && put(out, size, len, *word);
	}
	fits = fits && (!quotes || put(out, size, len, '"'));
	return fits ? 0 : -EMSGSIZE;
}

int ctl_join(const char *const argv[], char *out, size_t size, size_t *len)
{
	int rc = 0;

	*len = 0;
	if (!argv[0])
		return -EINVAL;
	for (int i = 0; argv[i]; i++) {
		if (i == CTL_ARGS_MAX)
			return -E2BIG;
		if (i && !put(out, size, len, ' '))
			return -EMSGSIZE;
		rc = join_word(argv[i], out, size, len);
		if (rc < 0)
			return rc;
	}
	return put(out, size, len, '\n') ? 0 : -EMSGSIZE;
}
