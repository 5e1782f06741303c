/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the files with libconfig, which nobody else sees, and checking them by the schema. See conf.h. */
#include "lib/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libconfig.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "lib/timing.h"

/* What is filled from where. */
struct target {
	const char *path; /* for messages */
	const struct conf_key *keys;
	size_t n_keys;
	void *out;
	unsigned int *source_line; /* by key; NULL: not wanted */
	/* romulus.conf alone has lists. */
	struct conf *lists_of;
};

/* ---- one value ---- */

static void *field_of(const struct target *t, const struct conf_key *k)
{
	return (char *)t->out + k->offset;
}

static int put_number(const struct target *t, const struct conf_key *k, uint64_t v)
{
	uint16_t narrow = (uint16_t)v;

	if ((v < k->min || v > k->max) && !(k->or_zero && !v))
		return -ERANGE;
	if (k->size == sizeof(narrow))
		memcpy(field_of(t, k), &narrow, sizeof(narrow));
	else
		memcpy(field_of(t, k), &v, sizeof(v));
	return 0;
}

static int find_value(const struct conf_key *k, const char *text, uint64_t *index)
{
	for (*index = 0; k->values[*index]; ++*index) {
		if (!strcmp(k->values[*index], text))
			return 0;
	}
	return -EINVAL;
}

static int reject_word(const struct conf_key *k, const char *text, struct err *e)
{
	char list[128] = "";
	size_t used = 0;

	for (size_t i = 0; k->values[i] && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
					 k->values[i]);
	return err_setx(e, -EINVAL, "\"%.40s\" is none of: %s", text, list);
}

static int put_text(const struct target *t, const struct conf_key *k, const char *text,
		    struct err *e)
{
	static const char address[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:-_%";
	size_t len = strlen(text);
	uint64_t unused;

	if (len >= k->size)
		return err_setx(e, -EINVAL, "\"%.40s...\" is longer than %zu bytes", text,
				k->size - 1);
	/* What may be left out may be said to be empty. */
	if (!len && k->dflt && !*k->dflt) {
		memset(field_of(t, k), 0, k->size);
		return 0;
	}
	if (k->type == CONF_NAME && len && !name_ok(text))
		return err_setx(
			e, -EINVAL,
			"\"%.64s\" is not a name: at most 63 letters, digits, '.', '_', '-', "
			"the first a letter or digit",
			text);
	if (k->type == CONF_PATH && text[0] != '/')
		return err_setx(e, -EINVAL, "\"%.64s\" is not an absolute path", text);
	if (k->type == CONF_ADDRESS && (!len || strspn(text, address) != len))
		return err_setx(e, -EINVAL, "\"%.64s\" is neither an IP address nor a host name",
				text);
	if (k->type == CONF_LINES && strpbrk(text, "\r\t"))
		return err_setx(e, -EINVAL, "\"%.64s\" has a tab or a carriage return", text);
	if (k->type == CONF_WORD && len && find_value(k, text, &unused) < 0)
		return reject_word(k, text, e);
	memcpy(field_of(t, k), text, len + 1);
	return 0;
}

static int reject_range(const struct conf_key *k, struct err *e)
{
	const char *zero = k->or_zero ? "0, or " : "";
	char a[32];
	char b[32];

	if (k->type == CONF_DURATION)
		return err_setx(e, -EINVAL, "must be %s%s to %s", zero,
				conf_format_duration(k->min, a, sizeof(a)),
				conf_format_duration(k->max, b, sizeof(b)));
	if (k->type == CONF_SIZE)
		return err_setx(e, -EINVAL, "must be %s%s to %s", zero,
				conf_format_size(k->min, a, sizeof(a)),
				conf_format_size(k->max, b, sizeof(b)));
	return err_setx(e, -EINVAL, "must be %s%" PRIu64 " to %" PRIu64, zero, k->min, k->max);
}

/* A value written as text, with quotes in the file. */
static int put_quoted(const struct target *t, const struct conf_key *k, const char *text,
		      struct err *e)
{
	uint64_t v = 0;
	int rc = 0;

	switch (k->type) {
	case CONF_TEXT:
	case CONF_NAME:
	case CONF_PATH:
	case CONF_ADDRESS:
	case CONF_WORD:
	case CONF_LINES:
		return put_text(t, k, text, e);
	case CONF_DURATION:
		rc = conf_parse_duration(text, &v, e);
		break;
	case CONF_SIZE:
		rc = conf_parse_size(text, &v, e);
		break;
	case CONF_ENUM:
		if (find_value(k, text, &v) < 0)
			return reject_word(k, text, e);
		memcpy(field_of(t, k), &v, sizeof(v));
		return 0;
	case CONF_INT:
		return err_setx(e, -EINVAL, "must be a number without quotes");
	case CONF_BOOL:
		return err_setx(e, -EINVAL, "must be true or false, without quotes");
	}
	if (rc < 0)
		return rc;
	return put_number(t, k, v) < 0 ? reject_range(k, e) : 0;
}

/* [ "a", "b" ] becomes "a\nb". */
static int put_lines(const struct target *t, const struct conf_key *k, config_setting_t *s,
		     struct err *e)
{
	char all[CONF_LINES_SIZE] = "";
	size_t used = 0;

	for (int i = 0; i < config_setting_length(s); i++) {
		const char *text = config_setting_get_string_elem(s, i);
		size_t len = text ? strlen(text) : 0;

		if (!len || strchr(text, '\n'))
			return err_setx(e, -EINVAL,
					"must be a list of quoted texts, each one line");
		if (used + len + 2 > sizeof(all))
			return err_setx(e, -EINVAL, "all texts together are longer than %zu bytes",
					sizeof(all) - 1);
		if (used)
			all[used++] = '\n';
		memcpy(all + used, text, len + 1);
		used += len;
	}
	return put_text(t, k, all, e);
}

static int put_setting(const struct target *t, const struct conf_key *k, config_setting_t *s,
		       struct err *e)
{
	int type = config_setting_type(s);
	bool yes;
	long long v;

	if (type == CONFIG_TYPE_STRING)
		return put_quoted(t, k, config_setting_get_string(s), e);
	if (type == CONFIG_TYPE_ARRAY && k->type == CONF_LINES)
		return put_lines(t, k, s, e);
	if (type == CONFIG_TYPE_BOOL && k->type == CONF_BOOL) {
		yes = config_setting_get_bool(s) != 0;
		memcpy(field_of(t, k), &yes, sizeof(yes));
		return 0;
	}
	if ((type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64) && k->type == CONF_INT) {
		v = config_setting_get_int64(s);
		return v < 0 || put_number(t, k, (uint64_t)v) < 0 ? reject_range(k, e) : 0;
	}
	switch (k->type) {
	case CONF_INT:
		return err_setx(e, -EINVAL, "must be a whole number");
	case CONF_BOOL:
		return err_setx(e, -EINVAL, "must be true or false");
	case CONF_DURATION:
		return err_setx(e, -EINVAL,
				"must be a quoted time with its unit, such as \"50ms\"");
	case CONF_SIZE:
		return err_setx(e, -EINVAL,
				"must be a quoted size with its unit, such as \"64MiB\"");
	case CONF_TEXT:
	case CONF_NAME:
	case CONF_PATH:
	case CONF_ADDRESS:
	case CONF_ENUM:
	case CONF_WORD:
		break;
	case CONF_LINES:
		return err_setx(e, -EINVAL, "must be a list of quoted texts: [ \"...\", \"...\" ]");
	}
	return err_setx(e, -EINVAL, "must be a quoted text");
}

/* Defaults are written as in a file, so that one parser reads both. */
static int put_default(const struct target *t, const struct conf_key *k, struct err *e)
{
	bool yes = k->dflt && !strcmp(k->dflt, "true");
	uint64_t v = 0;

	if (!k->dflt || !*k->dflt || !strcmp(k->dflt, "0")) {
		memset(field_of(t, k), 0, k->size);
		return 0;
	}
	if (k->type == CONF_BOOL) {
		memcpy(field_of(t, k), &yes, sizeof(yes));
		return 0;
	}
	if (k->type != CONF_INT)
		return put_quoted(t, k, k->dflt, e);
	for (const char *p = k->dflt; *p; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	return put_number(t, k, v);
}

static int put_defaults(const struct target *t, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < t->n_keys; i++)
		rc = put_default(t, &t->keys[i], e);
	return rc;
}

/* ---- the tree ---- */

static int at_line(const struct target *t, config_setting_t *s, const char *name, int rc,
		   struct err *e)
{
	return err_wrap(e, rc, "%s:%u: %s", t->path, config_setting_source_line(s), name);
}

static int unknown(const struct target *t, config_setting_t *s, const char *name, struct err *e)
{
	return err_setx(e, -EINVAL, "%s:%u: unknown key \"%s\"; romulus.conf(5) has the list",
			t->path, config_setting_source_line(s), name);
}

static bool is_group(const struct target *t, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < t->n_keys; i++) {
		if (!strncmp(t->keys[i].name, name, len) && t->keys[i].name[len] == '.')
			return true;
	}
	return false;
}

/* name is the setting's whole name, with its group. */
static int load_leaf(const struct target *t, config_setting_t *s, const char *name, struct err *e)
{
	int rc;

	for (size_t i = 0; i < t->n_keys; i++) {
		if (strcmp(t->keys[i].name, name) != 0)
			continue;
		rc = put_setting(t, &t->keys[i], s, e);
		if (rc < 0)
			return at_line(t, s, name, rc, e);
		if (t->source_line)
			t->source_line[i] = config_setting_source_line(s);
		return 0;
	}
	return unknown(t, s, name, e);
}

static int load_group(const struct target *t, config_setting_t *group, const char *prefix,
		      struct err *e)
{
	char name[128];
	int rc = 0;

	for (int i = 0; !rc && i < config_setting_length(group); i++) {
		config_setting_t *s = config_setting_get_elem(group, (unsigned int)i);

		snprintf(name, sizeof(name), "%s%s%.60s", prefix, *prefix ? "." : "",
			 config_setting_name(s));
		rc = load_leaf(t, s, name, e);
	}
	return rc;
}

/* One of romulus.conf's lists of groups; each has a name. */
struct list {
	const char *name; /* "peers" */
	const char *one;  /* "peer" */
	const char *form; /* of one, for messages */
	const struct conf_key *keys;
	size_t n_keys;
	char *array;
	size_t stride;
	size_t max;
	size_t *n;
	size_t name_offset;
	size_t line_offset;
};

static bool is_there(const struct list *l, const char *name)
{
	for (size_t i = 0; i < *l->n; i++) {
		if (!strcmp(l->array + i * l->stride + l->name_offset, name))
			return true;
	}
	return false;
}

static int load_item(const struct target *t, const struct list *l, config_setting_t *group,
		     struct err *e)
{
	unsigned int lines[CONF_MAX_KEYS] = {0};
	unsigned int line = config_setting_source_line(group);
	char *item = l->array + *l->n * l->stride;
	const struct target it = {.path = t->path,
				  .keys = l->keys,
				  .n_keys = l->n_keys,
				  .out = item,
				  .source_line = lines};
	int rc;

	if (*l->n == l->max)
		return err_setx(e, -EINVAL, "%s:%u: more than %zu %s", t->path, line, l->max,
				l->name);
	if (!config_setting_is_group(group))
		return err_setx(e, -EINVAL, "%s:%u: a %s must be %s", t->path, line, l->one,
				l->form);
	memcpy(item + l->line_offset, &line, sizeof(line));
	rc = put_defaults(&it, e);
	if (!rc)
		rc = load_group(&it, group, "", e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < it.n_keys; i++) {
		if (!it.keys[i].dflt && (!lines[i] || !*(const char *)field_of(&it, &it.keys[i])))
			return err_setx(e, -EINVAL, "%s:%u: a %s without %s", t->path, line, l->one,
					it.keys[i].name);
	}
	if (is_there(l, item + l->name_offset))
		return err_setx(e, -EINVAL, "%s:%u: %s \"%s\" is there twice", t->path, line,
				l->one, item + l->name_offset);
	++*l->n;
	return 0;
}

static int load_list(const struct target *t, const struct list *l, config_setting_t *list,
		     struct err *e)
{
	int rc = 0;

	if (!config_setting_is_list(list))
		return err_setx(e, -EINVAL, "%s:%u: %s must be a list: ( { ... }, { ... } )",
				t->path, config_setting_source_line(list), l->name);
	for (int i = 0; !rc && i < config_setting_length(list); i++)
		rc = load_item(t, l, config_setting_get_elem(list, (unsigned int)i), e);
	return rc;
}

static int load_peers(const struct target *t, config_setting_t *list, struct err *e)
{
	struct conf *c = t->lists_of;
	struct list l = {
		.name = "peers",
		.one = "peer",
		.form = "{ name = \"...\"; address = \"...\"; }",
		.array = (char *)c->peer,
		.stride = sizeof(c->peer[0]),
		.max = CONF_MAX_PEERS,
		.n = &c->n_peers,
		.name_offset = offsetof(struct conf_peer, name),
		.line_offset = offsetof(struct conf_peer, line),
	};

	l.keys = conf_peer_keys(&l.n_keys);
	return load_list(t, &l, list, e);
}

static int load_disks(const struct target *t, config_setting_t *list, struct err *e)
{
	struct conf *c = t->lists_of;
	struct list l = {
		.name = "disks",
		.one = "disk",
		.form = "{ name = \"...\"; path = \"...\"; }",
		.array = (char *)c->disk,
		.stride = sizeof(c->disk[0]),
		.max = CONF_MAX_DISKS,
		.n = &c->n_disks,
		.name_offset = offsetof(struct conf_disk, name),
		.line_offset = offsetof(struct conf_disk, line),
	};

	l.keys = conf_disk_keys(&l.n_keys);
	return load_list(t, &l, list, e);
}

static int load_root(const struct target *t, config_setting_t *root, struct err *e)
{
	int rc = 0;

	for (int i = 0; !rc && i < config_setting_length(root); i++) {
		config_setting_t *s = config_setting_get_elem(root, (unsigned int)i);
		const char *name = config_setting_name(s);

		if (t->lists_of && !strcmp(name, "peers"))
			rc = load_peers(t, s, e);
		else if (t->lists_of && !strcmp(name, "disks"))
			rc = load_disks(t, s, e);
		else if (!is_group(t, name))
			rc = load_leaf(t, s, name, e);
		else if (config_setting_is_group(s))
			rc = load_group(t, s, name, e);
		else
			rc = err_setx(e, -EINVAL, "%s:%u: %s must be a group: { ... }", t->path,
				      config_setting_source_line(s), name);
	}
	return rc;
}

/* ---- the file ---- */

static int read_file(const char *path, char **text, struct err *e)
{
	autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	autofree char *buf = NULL;
	size_t used = 0;
	struct stat st;
	ssize_t r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "open %s", path);
	if (!S_ISREG(st.st_mode))
		return err_setx(e, -EINVAL, "%s is not a file", path);
	buf = mem_alloc(CONF_MAX_BYTES + 1);
	if (!buf)
		return err_set(e, -ENOMEM, "read %s", path);
	while ((r = read(fd, buf + used, CONF_MAX_BYTES + 1 - used)) != 0) {
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_set(e, -errno, "read %s", path);
		used += (size_t)r;
		if (used > CONF_MAX_BYTES)
			return err_setx(e, -EINVAL, "%s is larger than a configuration can be",
					path);
	}
	if (memchr(buf, 0, used))
		return err_setx(e, -EINVAL, "%s is not text: it has a zero byte", path);
	buf[used] = 0;
	*text = take_ptr(&buf);
	return 0;
}

/* libconfig would follow an @include anywhere; one file stays one file. */
static int refuse_directives(const char *path, const char *text, struct err *e)
{
	unsigned int line = 1;

	for (const char *p = text; p; line++) {
		p += strspn(p, " \t\r");
		if (*p == '@')
			return err_setx(e, -EINVAL, "%s:%u: @ directives are not supported", path,
					line);
		p = strchr(p, '\n');
		p = p ? p + 1 : NULL;
	}
	return 0;
}

static int load_text(const struct target *t, const char *text, struct err *e)
{
	config_t cfg;
	int rc;

	rc = refuse_directives(t->path, text, e);
	if (rc < 0)
		return rc;
	config_init(&cfg);
	if (config_read_string(&cfg, text) == CONFIG_TRUE)
		rc = load_root(t, config_root_setting(&cfg), e);
	else
		rc = err_setx(e, -EINVAL, "%s:%d: %s", t->path, config_error_line(&cfg),
			      config_error_text(&cfg));
	config_destroy(&cfg);
	return rc;
}

/* ---- what belongs together ---- */

/* Two servers of one disk, or two journals in one file, would destroy each other's data. */
static int check_disks(const struct conf *c, struct err *e)
{
	for (size_t i = 0; i < c->n_disks; i++) {
		const struct conf_disk *a = &c->disk[i];

		if (!strcmp(a->path, a->journal))
			return err_setx(e, -EINVAL, "%s:%u: disk \"%s\" is its own journal",
					c->path, a->line, a->name);
		for (size_t j = 0; j < i; j++) {
			const struct conf_disk *b = &c->disk[j];

			if (!strcmp(a->path, b->path) || !strcmp(a->path, b->journal) ||
			    !strcmp(a->journal, b->path) ||
			    (*a->journal && !strcmp(a->journal, b->journal)))
				return err_setx(e, -EINVAL,
						"%s:%u: disks \"%s\" and \"%s\" share a file",
						c->path, a->line, b->name, a->name);
		}
	}
	return 0;
}

static int check_together(struct conf *c, struct err *e)
{
	const struct timing_conf tc = {
		.heartbeat_period_ns = c->heartbeat_period_ns,
		.failure_timeout_ns = c->failure_timeout_ns,
		.epoch_period_ns = c->epoch_period_ns,
	};
	int rc = timing_check(&tc, e);

	if (rc < 0)
		return err_wrap(e, rc, "%s: defaults", c->path);
	if (c->heartbeat_port && c->heartbeat_port + c->heartbeat_ports > 65536)
		return err_setx(e, -EINVAL,
				"%s: host.heartbeat-port %" PRIu64
				" and host.heartbeat-ports %" PRIu64 " go beyond port 65535",
				c->path, c->heartbeat_port, c->heartbeat_ports);
	if (conf_peer(c, c->host_name))
		return err_setx(e, -EINVAL, "%s:%u: peer \"%s\" has the name of this host", c->path,
				conf_peer(c, c->host_name)->line, c->host_name);
	rc = conf_arbiter_check__(c, e);
	return rc < 0 ? rc : check_disks(c, e);
}

static int own_name(struct conf *c, struct err *e)
{
	char name[256] = "";

	if (*c->host_name)
		return 0;
	if (gethostname(name, sizeof(name) - 1) < 0)
		return err_set(e, -errno, "read the system's host name");
	if (!name_ok(name))
		return err_setx(
			e, -EINVAL,
			"%s: the system's host name \"%.64s\" cannot be used; set host.name",
			c->path, name);
	memcpy(c->host_name, name, strlen(name) + 1);
	return 0;
}

int conf_load(const char *path, const struct conf **out, struct err *e)
{
	autofree char *text = NULL;
	autofree struct conf *c = mem_zalloc(sizeof(*c));
	struct target t = {.path = path, .out = c, .lists_of = c};
	int rc;

	if (!c)
		return err_set(e, -ENOMEM, "read %s", path);
	if (strlen(path) >= sizeof(c->path))
		return err_set(e, -ENAMETOOLONG, "read %s", path);
	memcpy(c->path, path, strlen(path) + 1);
	t.keys = conf_keys(&t.n_keys);
	t.source_line = c->source_line;
	rc = put_defaults(&t, e);
	if (!rc)
		rc = read_file(path, &text, e);
	if (!rc)
		rc = load_text(&t, text, e);
	if (!rc)
		rc = own_name(c, e);
	if (!rc)
		rc = check_together(c, e);
	if (!rc)
		*out = take_ptr(&c);
	return rc;
}

void conf_free(const struct conf *c)
{
	mem_free((void *)c);
}

int conf_load_vm(const struct conf *c, const char *vm, struct conf_vm *out, struct err *e)
{
	char path[CONF_PATH_SIZE + NAME_SIZE + 8];
	autofree char *text = NULL;
	struct target t = {.path = path, .out = out};
	int rc;

	if (!name_ok(vm))
		return err_setx(e, -EINVAL, "\"%.64s\" is not a VM's name", vm);
	snprintf(path, sizeof(path), "%s/%s.conf", c->vm_dir, vm);
	*out = (struct conf_vm){0};
	t.keys = conf_vm_keys(&t.n_keys);
	t.source_line = out->source_line;
	rc = put_defaults(&t, e);
	if (rc < 0)
		return rc;
	rc = read_file(path, &text, e);
	if (rc == -ENOENT)
		return 0;
	return rc < 0 ? rc : load_text(&t, text, e);
}

int conf_load_keys(const char *path, const struct conf_key *keys, size_t n_keys, void *out,
		   unsigned int *source_line, struct err *e)
{
	autofree char *text = NULL;
	const struct target t = {.path = path,
				 .keys = keys,
				 .n_keys = n_keys,
				 .out = out,
				 .source_line = source_line};
	int rc = put_defaults(&t, e);

	if (!rc)
		rc = read_file(path, &text, e);
	return rc < 0 ? rc : load_text(&t, text, e);
}
