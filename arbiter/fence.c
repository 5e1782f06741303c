/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fence.h. */
#include "arbiter/fence.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/clock.h"
#include "lib/conf.h"
#include "lib/err.h"
#include "lib/spawn.h"

#define INPUT_SIZE (2 * CONF_LINES_SIZE + 32)
#define OUTPUT_SIZE 4096
#define GRACE_NS (500 * NS_PER_MS)
/* Between two looks at a machine that is not off yet. */
#define LOOK_AGAIN_NS NS_PER_SEC
#define STOP_POLL_NS (100 * NS_PER_MS)

struct fence {
	const struct conf *conf;
	const struct conf_peer *peer;
	const volatile sig_atomic_t *stop;
	uint64_t deadline_ns;
	char said[OUTPUT_SIZE]; /* standard output of the last run */
	size_t said_len;
	char complaint[256]; /* its standard error */
};

static bool stopped(const struct fence *f)
{
	return f->stop && *f->stop;
}

/* False: stopped meanwhile. */
static bool wait_until(const struct fence *f, uint64_t t)
{
	uint64_t left;

	while (!stopped(f) && (left = clock_until(t, clock_now())) > 0)
		(void)poll(NULL, 0, clock_poll_ms(MIN(left, STOP_POLL_NS)));
	return !stopped(f);
}

/* Its exit status, or a negative errno. */
static int run(struct fence *f, const char *action, struct err *e)
{
	const struct conf *c = f->conf;
	const char *const argv[] = {c->fence_agent, NULL};
	char input[INPUT_SIZE];
	struct spawn s = {
		.argv = argv,
		.in = input,
		.timeout_ns = clock_until(f->deadline_ns, clock_now()),
		.out = f->said,
		.out_size = sizeof(f->said),
		.err = f->complaint,
		.err_size = sizeof(f->complaint),
		.stop = f->stop,
		.grace_ns = GRACE_NS,
	};
	int rc;

	(void)snprintf(input, sizeof(input), "%s%s%s\naction=%s\n", c->fence_options,
		       *c->fence_options ? "\n" : "", f->peer->fence_options, action);
	f->said_len = 0;
	if (!s.timeout_ns)
		return err_setx(e, -ETIMEDOUT, "%s: no time is left for action=%s", c->fence_agent,
				action);
	rc = spawn_run(&s, e);
	explicit_bzero(input, sizeof(input));
	if (rc < 0)
		return err_wrap(e, rc, "action=%s", action);
	f->said_len = s.out_used;
	return s.status;
}

/* A whole line of what it said, whatever the case and the blanks around it. */
static bool says(const struct fence *f, const char *line)
{
	const char *end = f->said + f->said_len;
	size_t len = strlen(line);

	for (const char *p = f->said; p < end;) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		const char *last = stop ? stop : end;

		while (p < last && strchr(" \t", *p) && *p)
			p++;
		while (last > p && strchr(" \t\r", last[-1]) && last[-1])
			last--;
		if ((size_t)(last - p) == len && !strncasecmp(p, line, len))
			return true;
		p = stop ? stop + 1 : end;
	}
	return false;
}

enum power {
	POWER_OFF,
	POWER_ON,
};

/* 0 and *power, when exit status and text agree; else -EIO with a text, -ETIMEDOUT, ... */
static int look(struct fence *f, enum power *power, struct err *e)
{
	bool off;
	bool on;
	int status = run(f, "status", e);

	if (status < 0)
		return status;
	off = says(f, "Status: OFF");
	on = says(f, "Status: ON");
	if (status == 2 && off && !on) {
		*power = POWER_OFF;
		return 0;
	}
	if (status == 0 && on && !off) {
		*power = POWER_ON;
		return 0;
	}
	return err_setx(e, -EIO, "%s: action=status ended with status %d and %s: not believed%s%s",
			f->conf->fence_agent, status,
			off && on ? "said both ON and OFF"
			: off	  ? "said \"Status: OFF\""
			: on	  ? "said \"Status: ON\""
				  : "said neither \"Status: ON\" nor \"Status: OFF\"",
			*f->complaint ? "; it complained: " : "", f->complaint);
}

static int switch_off(struct fence *f, struct err *e)
{
	int status = run(f, "off", e);

	if (status < 0)
		return status;
	if (status == 0)
		return 0;
	return err_setx(e, -EIO, "%s: action=off ended with status %d%s%s", f->conf->fence_agent,
			status, *f->complaint ? "; it complained: " : "", f->complaint);
}

/* A machine takes its time to go off. */
static int see_it_off(struct fence *f, struct err *e)
{
	enum power power = POWER_ON;
	int rc;

	for (;;) {
		rc = look(f, &power, e);
		if (rc < 0 || power == POWER_OFF)
			return rc;
		if (clock_add(clock_now(), LOOK_AGAIN_NS) >= f->deadline_ns)
			return err_setx(e, -ETIMEDOUT,
					"%s: action=off ended with status 0, but %s is still on",
					f->conf->fence_agent, f->peer->name);
		if (!wait_until(f, clock_add(clock_now(), LOOK_AGAIN_NS)))
			return err_setx(e, -EINTR, "stopped before %s was seen off", f->peer->name);
	}
}

static int vote(struct fence *f, bool is_backup, struct err *e)
{
	int rc;

	if (is_backup && !wait_until(f, clock_add(clock_now(), f->conf->fence_delay_ns)))
		return err_setx(e, -EINTR, "stopped before %s was switched off", f->peer->name);
	f->deadline_ns = clock_add(clock_now(), f->conf->fence_timeout_ns);
	rc = switch_off(f, e);
	return rc < 0 ? rc : see_it_off(f, e);
}

static int join(struct fence *f, struct err *e)
{
	enum power power = POWER_ON;
	int rc = look(f, &power, e);

	if (!rc && power == POWER_OFF)
		rc = err_setx(e, -EHOSTDOWN,
			      "%s: %s is off by its status; if it is not, its fence-options name "
			      "another machine",
			      f->conf->fence_agent, f->peer->name);
	return rc;
}

void fence_ask(const struct conf *conf, const struct arbiter_ask *ask, struct verdict *v)
{
	const struct ballot *b = &ask->ballot;
	struct fence f = {
		.conf = conf,
		.peer = conf_peer(conf, b->peer),
		.stop = ask->stop,
		.deadline_ns = clock_add(clock_now(), conf->fence_timeout_ns),
	};
	struct err e = ERR_INIT;
	enum power power;
	int rc = 0;

	if (!f.peer) {
		verdict_unknown(v, "\"%s\" is no peer of romulus.conf: there is nothing to fence",
				b->peer);
		return;
	}
	switch (b->op) {
	case BALLOT_JOIN:
		rc = join(&f, &e);
		break;
	case BALLOT_VOTE:
		rc = vote(&f, ask->is_backup, &e);
		break;
	case BALLOT_LOOK:
		rc = look(&f, &power, &e);
		break;
	}
	if (rc < 0)
		verdict_unknown(v, "fence %s: %s", f.peer->name, e.text);
	else if (b->op == BALLOT_LOOK)
		*v = (struct verdict){.kind = VERDICT_NONE};
	else
		*v = (struct verdict){.kind = VERDICT_GRANTED, .term = b->term};
}
