/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ctl_server.h. A client is in one of three conditions: it may send a request (we read), its request
 * is being carried out elsewhere (`token`, we neither read nor write), or it has an answer to fetch
 * (`out`, we write and read nothing more). One timer covers whichever it is.
 */
#include "lib/ctl_server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json_out.h"
#include "lib/log.h"

/* Requests that one client gets answered before others have a turn. */
#define BURST 8
/* After accept() found no descriptor or memory left. */
#define ACCEPT_PAUSE_NS (200 * NS_PER_MS)

struct client {
	struct ctl_server *server; /* NULL: the place is free */
	int fd;
	sd_event_source *io;
	sd_event_source *timer;
	sd_event_source *more; /* complete lines are left in `in` */
	char in[CTL_LINE_MAX];
	size_t in_used;
	struct json *reply; /* of a request answered later */
	uint64_t token;
	char *out;
	size_t out_size;
	size_t out_sent;
	bool eof;     /* it sends nothing more */
	bool closing; /* dropped once `out` is sent */
};

struct ctl_server {
	sd_event *event;
	int fd;
	sd_event_source *io;
	sd_event_source *accept_again;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	uint64_t next_token;
	int n_commands;
	struct ctl_command command[CTL_MAX_COMMANDS];
	struct client client[CTL_MAX_CLIENTS];
};

static const char no_memory[] = "{\"ok\":false,\"error\":\"out of memory\",\"code\":\"ENOMEM\"}\n";

/* ---- one client ---- */

static void client_drop(struct client *c)
{
	sd_event_source_disable_unref(c->io);
	sd_event_source_disable_unref(c->timer);
	sd_event_source_disable_unref(c->more);
	close(c->fd);
	json_out_free(c->reply);
	mem_free(c->out);
	*c = (struct client){.fd = -1};
}

/* Our own loop refusing to work is no reason to go on with this client. */
static bool client_expect(struct client *c, uint32_t events)
{
	if (sd_event_source_set_io_events(c->io, events) >= 0)
		return true;
	client_drop(c);
	return false;
}

static bool client_deadline(struct client *c, uint64_t after_ns)
{
	uint64_t now_us = clock_now() / NS_PER_US;

	return sd_event_source_set_time(c->timer, now_us + after_ns / NS_PER_US) >= 0 &&
	       sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT) >= 0;
}

/* Sends what fits. False: the client is gone. */
static bool client_flush(struct client *c)
{
	while (c->out_sent < c->out_size) {
		ssize_t r = send(c->fd, c->out + c->out_sent, c->out_size - c->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			return client_expect(c, EPOLLOUT);
		if (r < 0) {
			client_drop(c);
			return false;
		}
		c->out_sent += (size_t)r;
	}
	mem_free(c->out);
	c->out = NULL;
	c->out_size = 0;
	c->out_sent = 0;
	if (c->closing) {
		client_drop(c);
		return false;
	}
	return client_expect(c, c->eof ? 0 : EPOLLIN);
}

static bool client_send(struct client *c, const char *text, size_t size)
{
	assert(!c->out);
	c->out = mem_dup(text, size);
	if (!c->out || !client_deadline(c, CTL_IDLE_NS)) {
		client_drop(c);
		return false;
	}
	c->out_size = size;
	return client_flush(c);
}

static void reply_error(struct json *reply, int rc, const char *text)
{
	json_out_bool(reply, "ok", false);
	json_out_text(reply, "error", text);
	json_out_text(reply, "code", strerrorname_np(-rc) ? strerrorname_np(-rc) : "EIO");
}

/* Sends reply as the whole answer. False: the client is gone. */
static bool client_answer_take(struct client *c, struct json *reply, int rc, const struct err *e)
{
	struct json *big = NULL;
	char *text = NULL;
	const char *line;
	size_t len = 0;
	bool alive;

	if (rc < 0)
		reply_error(reply, rc, e && *e->text ? e->text : strerrordesc_np(-rc));
	line = json_out_line(reply, &len);
	if (line && len >= CTL_ANSWER_MAX) {
		big = json_out_new();
		reply_error(big, -EMSGSIZE, "the answer is too large");
		line = big ? json_out_line(big, &len) : NULL;
	}
	if (line)
		text = mem_alloc(len + 1);
	if (text) {
		memcpy(text, line, len);
		text[len] = '\n';
		alive = client_send(c, text, len + 1);
	} else {
		alive = client_send(c, no_memory, sizeof(no_memory) - 1);
	}
	mem_free(text);
	json_out_free(big);
	json_out_free(reply);
	return alive;
}

static bool client_refuse(struct client *c, int rc, const struct err *e)
{
	struct json *reply = json_out_new();

	if (!reply)
		return client_send(c, no_memory, sizeof(no_memory) - 1);
	return client_answer_take(c, reply, rc, e);
}

/* ---- requests ---- */

static const struct ctl_command *find_command(const struct ctl_server *s, const char *name)
{
	for (int i = 0; i < s->n_commands; i++) {
		if (!strcmp(s->command[i].name, name))
			return &s->command[i];
	}
	return NULL;
}

static int run_command(struct ctl_request *rq, int argc, char **argv, struct err *e)
{
	const struct ctl_command *cmd = find_command(rq->server, argv[0]);

	if (!cmd)
		return err_setx(e, -EOPNOTSUPP, "unknown command \"%.64s\"; try help", argv[0]);
	if (argc - 1 < cmd->min_args || argc - 1 > cmd->max_args)
		return err_setx(e, -EINVAL, "usage: %s %s", cmd->name, cmd->usage);
	rq->argc = argc - 1;
	rq->argv = argv + 1;
	return cmd->fn(cmd->ctx, rq, e);
}

/* One line, without its newline and ended by a 0. False: the client is gone. */
static bool handle_line(struct client *c, char *line, size_t len)
{
	struct ctl_server *s = c->server;
	struct ctl_request rq = {.server = s, .token.id = ++s->next_token};
	char *argv[CTL_ARGS_MAX + 1] = {NULL};
	struct err e = ERR_INIT;
	int argc;
	int rc;

	if (strlen(line) != len)
		argc = err_setx(&e, -EINVAL, "a zero byte in the request");
	else
		argc = ctl_split(line, argv, CTL_ARGS_MAX, &e);
	if (argc == 0)
		return true;
	if (argc < 0)
		return client_refuse(c, argc, &e);
	rq.reply = json_out_new();
	if (!rq.reply)
		return client_refuse(c, -ENOMEM, NULL);
	/* First, so that it is printed first. */
	json_out_bool(rq.reply, "ok", true);
	/* What ctl_server_later() and an answer from within the callback work on. */
	c->reply = rq.reply;
	c->token = rq.token.id;
	rc = run_command(&rq, argc, argv, &e);
	if (rq.later && rc >= 0)
		return c->server != NULL;
	c->reply = NULL;
	c->token = 0;
	return client_answer_take(c, rq.reply, rc, &e);
}

/* Carries out the complete lines that were read, within BURST. False: the client is gone. */
static bool handle_lines(struct client *c)
{
	char line[CTL_LINE_MAX];
	const char *end;
	size_t len;

	for (int i = 0; !c->out && !c->token; i++) {
		end = memchr(c->in, '\n', c->in_used);
		if (!end)
			break;
		if (i == BURST)
			return sd_event_source_set_enabled(c->more, SD_EVENT_ONESHOT) >= 0;
		len = (size_t)(end - c->in);
		memcpy(line, c->in, len);
		line[len] = 0;
		c->in_used -= len + 1;
		memmove(c->in, end + 1, c->in_used);
		if (!handle_line(c, line, len))
			return false;
	}
	return true;
}

/* After reading or answering: what comes next? */
static void client_go_on(struct client *c)
{
	struct err e = ERR_INIT;
	bool complete;

	if (!handle_lines(c) || c->out)
		return;
	if (c->token) {
		client_expect(c, 0);
		return;
	}
	complete = memchr(c->in, '\n', c->in_used) != NULL;
	if (!complete && c->in_used == sizeof(c->in)) {
		c->closing = true;
		err_setx(&e, -EMSGSIZE, "a request of more than %d bytes", CTL_LINE_MAX);
		client_refuse(c, -EMSGSIZE, &e);
	} else if (!complete && c->eof) {
		client_drop(c);
	}
}

static int on_more(sd_event_source *source, void *arg)
{
	client_go_on(arg);
	return 0;
}

static void client_read(struct client *c)
{
	ssize_t r = recv(c->fd, c->in + c->in_used, sizeof(c->in) - c->in_used, MSG_DONTWAIT);

	if (r < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (r < 0) {
		client_drop(c);
		return;
	}
	c->eof = r == 0;
	c->in_used += (size_t)r;
	if (c->eof && !client_expect(c, 0))
		return;
	client_go_on(c);
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct client *c = arg;

	if (c->out) {
		if (events & (EPOLLERR | EPOLLHUP))
			client_drop(c);
		else if (client_flush(c) && !c->out)
			client_go_on(c);
	} else if (c->token || c->eof) {
		/* Nothing was asked for: it hung up for good. */
		client_drop(c);
	} else if (c->in_used < sizeof(c->in)) {
		client_read(c);
	}
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct client *c = arg;
	struct json *reply = c->reply;
	struct err e = ERR_INIT;

	if (!c->token) {
		client_drop(c);
		return 0;
	}
	c->reply = NULL;
	c->token = 0;
	err_setx(&e, -ETIMEDOUT, "it takes too long; look at the status");
	if (client_answer_take(c, reply, -ETIMEDOUT, &e) && !c->out)
		client_go_on(c);
	return 0;
}

static struct client *find_token(struct ctl_server *s, struct ctl_token t)
{
	for (int i = 0; t.id && i < CTL_MAX_CLIENTS; i++) {
		if (s->client[i].token == t.id)
			return &s->client[i];
	}
	return NULL;
}

void ctl_server_later(struct ctl_request *rq, uint64_t timeout_ns)
{
	struct client *c = find_token(rq->server, rq->token);
	bool armed;

	assert(c);
	/* The timer is armed already, only its time changes: that needs no memory. */
	armed = client_deadline(c, timeout_ns);
	assert(armed);
	rq->later = true;
}

struct json *ctl_server_reply(struct ctl_server *s, struct ctl_token t)
{
	struct client *c = find_token(s, t);

	return c ? c->reply : NULL;
}

void ctl_server_finish(struct ctl_server *s, struct ctl_token t, int rc, const struct err *e)
{
	struct client *c = find_token(s, t);
	struct json *reply;

	if (!c)
		return;
	reply = c->reply;
	c->reply = NULL;
	c->token = 0;
	/* The lines behind it get their turn from the loop: our caller may be a command itself. */
	if (client_answer_take(c, reply, rc, e) && !c->out &&
	    sd_event_source_set_enabled(c->more, SD_EVENT_ONESHOT) < 0)
		client_drop(c);
}

/* ---- accepting ---- */

static int client_watch(struct client *c, sd_event *event)
{
	uint64_t at = (clock_now() + CTL_IDLE_NS) / NS_PER_US;
	int r = sd_event_add_io(event, &c->io, c->fd, EPOLLIN, on_client, c);

	if (r >= 0)
		r = sd_event_add_time(event, &c->timer, CLOCK_BOOTTIME, at, 1, on_timer, c);
	if (r >= 0)
		r = sd_event_add_defer(event, &c->more, on_more, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->more, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_priority(c->io, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_priority(c->timer, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_priority(c->more, SD_EVENT_PRIORITY_IDLE);
	return r < 0 ? r : 0;
}

static bool may_ask(int fd)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

/* Says no on a socket that gets no place. A fresh socket's buffer takes the line. */
static void turn_away(int fd, const char *line)
{
	if (send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("a client left before it was turned away");
}

static void accept_one(struct ctl_server *s, int accepted)
{
	autofd fd = accepted;
	struct client *c = NULL;
	int rc;

	for (int i = 0; !c && i < CTL_MAX_CLIENTS; i++)
		c = s->client[i].server ? NULL : &s->client[i];
	if (!may_ask(fd)) {
		turn_away(fd,
			  "{\"ok\":false,\"error\":\"only root may ask\",\"code\":\"EPERM\"}\n");
	} else if (!c) {
		log_limited(LOG_AT_WARN, "%s: %d clients at a time are the limit", s->path,
			    CTL_MAX_CLIENTS);
		turn_away(fd, "{\"ok\":false,\"error\":\"too many clients\",\"code\":\"EBUSY\"}\n");
	} else {
		*c = (struct client){.server = s, .fd = take_fd(&fd)};
		rc = client_watch(c, s->event);
		if (rc < 0) {
			log_limited(LOG_AT_WARN, "%s: cannot serve a client (error %d)", s->path,
				    rc);
			client_drop(c);
		}
	}
}

static int on_accept_again(sd_event_source *source, uint64_t usec, void *arg)
{
	struct ctl_server *s = arg;

	return sd_event_source_set_enabled(s->io, SD_EVENT_ON);
}

static int pause_accepting(struct ctl_server *s)
{
	int r = sd_event_source_set_enabled(s->io, SD_EVENT_OFF);

	if (r >= 0)
		r = sd_event_source_set_time(s->accept_again,
					     (clock_now() + ACCEPT_PAUSE_NS) / NS_PER_US);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->accept_again, SD_EVENT_ONESHOT);
	return r;
}

static int on_listen(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct ctl_server *s = arg;
	int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (accepted >= 0) {
		accept_one(s, accepted);
		return 0;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return 0;
	log_limited(LOG_AT_WARN, "%s: accept: %s; trying again soon", s->path,
		    strerrordesc_np(errno));
	return pause_accepting(s);
}

/* ---- the server ---- */

/* A socket that nobody listens on is what a crash left. */
static int clear_stale(const struct sockaddr_un *addr, struct err *e)
{
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd < 0)
		return err_set(e, -errno, "socket");
	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_set(e, -errno, "%s", addr->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_setx(e, -EEXIST, "%s is there and is no socket", addr->sun_path);
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return err_set(e, -EADDRINUSE, "%s: somebody serves it already", addr->sun_path);
	if (errno != ECONNREFUSED)
		return err_set(e, -errno, "%s", addr->sun_path);
	if (unlink(addr->sun_path) < 0 && errno != ENOENT)
		return err_set(e, -errno, "remove %s", addr->sun_path);
	return 0;
}

static int listen_at(const char *path, int *fd_out, struct err *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old;
	int rc;

	if (fd < 0)
		return err_set(e, -errno, "socket");
	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	rc = clear_stale(&addr, e);
	if (rc < 0)
		return rc;
	old = umask(0177);
	rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(old);
	if (rc < 0)
		return err_set(e, rc, "bind %s", path);
	if (listen(fd, CTL_MAX_CLIENTS) < 0) {
		rc = -errno;
		unlink(path);
		return err_set(e, rc, "listen at %s", path);
	}
	*fd_out = take_fd(&fd);
	return 0;
}

static int on_help(void *ctx, struct ctl_request *rq, struct err *e)
{
	const struct ctl_server *s = ctx;
	struct json *list = json_out_array(rq->reply, "commands");

	for (int i = 0; i < s->n_commands; i++) {
		struct json *one = json_out_object(list, NULL);

		json_out_text(one, "name", s->command[i].name);
		json_out_text(one, "usage", s->command[i].usage);
	}
	return 0;
}

static int server_start(struct ctl_server *s, const char *path, struct err *e)
{
	const struct ctl_command help = {
		.name = "help", .usage = " this list", .fn = on_help, .ctx = s};
	int r;
	int rc = listen_at(path, &s->fd, e);

	if (rc < 0)
		return rc;
	memcpy(s->path, path, strlen(path) + 1);
	r = sd_event_add_io(s->event, &s->io, s->fd, EPOLLIN, on_listen, s);
	if (r >= 0)
		r = sd_event_source_set_priority(s->io, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_add_time(s->event, &s->accept_again, CLOCK_BOOTTIME, 0, 1,
				      on_accept_again, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->accept_again, SD_EVENT_OFF);
	if (r < 0)
		return err_set(e, r, "watch %s", path);
	return ctl_server_add(s, &help);
}

int ctl_server_new(sd_event *event, const char *path, struct ctl_server **out, struct err *e)
{
	struct ctl_server *s = mem_zalloc(sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, -ENOMEM, "serve %s", path);
	s->fd = -1;
	s->event = sd_event_ref(event);
	rc = server_start(s, path, e);
	if (rc < 0)
		ctl_server_free(s);
	else
		*out = s;
	return rc;
}

void ctl_server_free(struct ctl_server *s)
{
	if (!s)
		return;
	for (int i = 0; i < CTL_MAX_CLIENTS; i++) {
		if (s->client[i].server)
			client_drop(&s->client[i]);
	}
	sd_event_source_disable_unref(s->accept_again);
	sd_event_source_disable_unref(s->io);
	if (*s->path)
		unlink(s->path);
	if (s->fd >= 0)
		close(s->fd);
	sd_event_unref(s->event);
	mem_free(s);
}

int ctl_server_add(struct ctl_server *s, const struct ctl_command *cmd)
{
	if (find_command(s, cmd->name))
		return -EEXIST;
	if (s->n_commands == CTL_MAX_COMMANDS)
		return -ENOSPC;
	s->command[s->n_commands++] = *cmd;
	return 0;
}
