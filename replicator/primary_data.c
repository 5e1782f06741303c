// SPDX-License-Identifier: GPL-2.0-or-later
/* See primary_data.h. Everything but the constructor and the queue's ends runs on the data thread. */
#include "replicator/primary_data.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/queue.h"
#include "lib/spawn.h"
#include "lib/wire_v1_drill.h"
#include "replicator/first_copy.h"
#include "replicator/primary_ports.h"
#include "replicator/primary_link.h"

#define DOMAIN_TOOL LIBEXEC_DIR "/romulus-domain"
/* The core has a handful of commands outstanding; messages pile up only while control runs a tool. */
#define COMMANDS 64
#define MESSAGES 4096
/* How often an idle thread looks whether the guest is well; see guest_suspend() about late obedience. */
#define HEALTH_NS (50 * NS_PER_MS)
#define PROGRESS_NS (100 * NS_PER_MS)
#define CONFIG_TIMEOUT_NS (20 * NS_PER_SEC)
/* The backup connects to its servers, which may have a journal to read. */
#define DISKS_OK_NS (30 * NS_PER_SEC)
/* P4: so long the output stays held, or a guest alive, for what a disk is to remember. */
#define SETTLE_NS (10 * NS_PER_SEC)
#define DISK_FIGURES_NS (200 * NS_PER_MS)
#define DISK_END_POLL_MS 20

struct primary_data {
	struct pd_conf conf;
	struct guest *guest;
	struct queue *commands; /* control → data */
	struct queue *messages; /* data → control */
	int urgent_fd;
	pthread_t thread;
	bool started;

	/* The thread's own. */
	struct primary_link link;
	struct page_enc *enc;
	struct arena arena;
	struct checkpoint cp;
	char *json; /* WIRE_CONFIG_MAX + 1 bytes */
	uint64_t health_at_ns;
	uint64_t progress_at_ns;
	enum guest_health health_said;
	uint64_t ext_lost; /* so often was told */
	bool stop;
	bool parked; /* the guest is suspended since the last checkpoint, until RESUME */
	struct primary_ports *disks; /* NULL: the VM has none */
	bool head_sent;		     /* CONFIG and STATIC of this session are, with DISKS */
	uint64_t figures_at_ns;
};

/* ---- messages ---- */

static void post(struct primary_data *d, struct pd_msg *m)
{
	if (!m->at_ns)
		m->at_ns = clock_now();
	if (!queue_put(d->messages, m))
		die("the control thread does not read its messages");
}

static void post_text(struct primary_data *d, enum pd_msg_type type, uint64_t epoch,
		      const char *text)
{
	struct pd_msg m = {.type = type, .epoch = epoch};

	snprintf(m.text, sizeof(m.text), "%s", text);
	post(d, &m);
}

static void count_wire(struct primary_data *d, struct pd_msg *m)
{
	struct conn_info info;

	page_enc_counters(d->enc, &m->wire);
	conn_info(d->link.conn, &info);
	m->sent_bytes = info.bytes_sent;
}

static void drop_link(struct primary_data *d, const char *text)
{
	primary_link_close(&d->link);
	d->head_sent = false;
	guest_logdirty_disable(d->guest);
	post_text(d, PD_LINK_DOWN, 0, text);
}

/* ---- the guest between checkpoints ---- */

static enum leave_reason leave_of(enum guest_shutdown reason)
{
	switch (reason) {
	case GUEST_CRASH:
	case GUEST_WATCHDOG:
		return LEAVE_GUEST_CRASH;
	case GUEST_SUSPEND:
		return LEAVE_GUEST_SUSPENDED;
	case GUEST_POWEROFF:
	case GUEST_REBOOT:
	case GUEST_SOFT_RESET:
	case GUEST_SHUTDOWN_OTHER:
		break;
	}
	return LEAVE_GUEST_SHUTDOWN;
}

static void post_guest(struct primary_data *d, enum leave_reason leave, const char *text)
{
	struct pd_msg m = {.type = PD_GUEST, .leave = leave};

	snprintf(m.text, sizeof(m.text), "%s", text);
	post(d, &m);
}

/* Says each change of the guest's health once. */
static void check_health(struct primary_data *d)
{
	enum guest_shutdown reason = GUEST_SHUTDOWN_OTHER;
	enum guest_health h;

	d->health_at_ns = clock_now() + HEALTH_NS;
	/* One that is found suspended is resumed. */
	if (d->parked)
		return;
	h = guest_health(d->guest, &reason);
	if (h == d->health_said)
		return;
	d->health_said = h;
	switch (h) {
	case GUEST_HEALTH_RUNNING:
	case GUEST_HEALTH_PAUSED:
		break;
	case GUEST_HEALTH_GONE:
		post_guest(d, LEAVE_GUEST_DESTROYED, "the guest was destroyed");
		break;
	case GUEST_HEALTH_SHUTDOWN:
		post_guest(d, leave_of(reason),
			   leave_of(reason) == LEAVE_GUEST_CRASH
				   ? "the guest crashed"
				   : "the guest powered off or rebooted");
		break;
	case GUEST_HEALTH_FOREIGN:
		post_guest(d, LEAVE_GUEST_SUSPENDED,
			   "somebody else suspended the guest (xl save?)");
		break;
	case GUEST_HEALTH_CHANGED:
		post_guest(d, LEAVE_GUEST_CHANGED, "the guest's memory or devices changed");
		break;
	}
}

static enum leave_reason leave_of_suspend(const struct suspend_result *s)
{
	switch (s->outcome) {
	case SUSPEND_GONE:
		return LEAVE_GUEST_DESTROYED;
	case SUSPEND_SHUTDOWN:
		return leave_of(s->reason);
	case SUSPEND_FOREIGN:
		return LEAVE_GUEST_SUSPENDED;
	case SUSPEND_CHANGED:
		return LEAVE_GUEST_CHANGED;
	case SUSPEND_DONE:
	case SUSPEND_TIMEOUT:
	case SUSPEND_FAILED:
		break;
	}
	return LEAVE_RESYNC;
}

/* ---- the link ---- */

/* All that the peer has said; negative errno when the session is over (and it was told). */
static int read_peer(struct primary_data *d)
{
	struct err e = ERR_INIT;
	struct pd_msg m;
	int rc;

	while (d->link.conn) {
		rc = primary_link_read(&d->link, &m, &e);
		if (rc == 0)
			return 0;
		if (rc < 0) {
			drop_link(d, e.text);
			return rc;
		}
		post(d, &m);
		if (m.type == PD_REFUSED || m.type == PD_PEER_ACTIVATED) {
			drop_link(d, m.text);
			return -ECONNRESET;
		}
	}
	return -ENOTCONN;
}

static void do_connect(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct err e = ERR_INIT;
	struct pd_msg m = {.type = PD_LINK_UP};
	struct conn_info info;
	int rc;

	guest_settle(d->guest);
	if (d->link.conn)
		primary_link_close(&d->link);
	rc = primary_link_open(&d->link, &d->conf, &d->guest->info, cmd, d->urgent_fd, &e);
	if (rc == 0)
		rc = conn_export_key(d->link.conn, HEARTBEAT_LABEL, m.hb_secret,
				     sizeof(m.hb_secret), &e);
	if (rc == -EOWNERDEAD) {
		m.type = PD_PEER_ACTIVATED;
		m.term = d->link.peer_term;
		snprintf(m.text, sizeof(m.text), "%s", e.text);
		post(d, &m);
		return;
	}
	if (rc < 0) {
		primary_link_close(&d->link);
		post_text(d, rc == -EREMOTEIO ? PD_REFUSED : PD_LINK_DOWN, 0, e.text);
		return;
	}
	conn_info(d->link.conn, &info);
	log_info("session with %s at %s, %s%s", info.peer_name, info.peer_addr, info.cipher,
		 info.ktls_send ? ", kernel TLS" : "");
	m.term = d->link.peer_term;
	m.hb_peer = d->link.heartbeat;
	conn_local_addr(d->link.conn, &m.hb_local);
	m.ktls = info.ktls_send;
	post(d, &m);
	tls_wipe(m.hb_secret, sizeof(m.hb_secret));
}

static void do_disconnect(struct primary_data *d)
{
	uint64_t n;

	/* The urgent call was for what ran before this command. */
	if (read(d->urgent_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_warn("urgent descriptor: %s", strerror(errno));
	/* A session has one end: if it ended by itself, that was told. */
	if (d->link.conn)
		drop_link(d, "");
}

static void do_bye(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct err e = ERR_INIT;

	guest_logdirty_disable(d->guest);
	if (d->link.conn &&
	    primary_link_send_bye(&d->link, cmd->leave,
				  clock_now() + d->conf.timing.send_timeout_ns, &e) < 0)
		drop_link(d, e.text);
}

/* ---- disks ---- */

static void disks_tell(void *arg, enum primary_ports_news news, const char *text)
{
	static const enum pd_msg_type types[] = {
		[PRIMARY_PORTS_SYNCED] = PD_DISKS_SYNCED,
		[PRIMARY_PORTS_DROPPED] = PD_DISK_DROPPED,
		[PRIMARY_PORTS_ERROR] = PD_DISK_ERROR,
		[PRIMARY_PORTS_PRESSURE] = PD_DISK_PRESSURE,
	};

	post_text(arg, types[news], 0, text);
}

static void post_figures(struct primary_data *d, unsigned int i)
{
	const struct disk_link *l = primary_ports_link(d->disks);
	const struct port_state *st = disk_link_state(l, i);
	struct pd_msg m = {.type = PD_DISK,
			   .index = i,
			   .disk = {.up = disk_link_is_up(l, i),
				    .state = st->state,
				    .synced = primary_ports_is_synced(d->disks, i),
				    .generation = st->gen.current,
				    .size = st->size,
				    .behind_bytes = st->dirty_bytes,
				    .fill_percent = disk_link_fill(l, i),
				    .durable = primary_ports_durable(d->disks, i),
				    .journal_free_bytes = primary_ports_peer_free(d->disks, i),
				    .compared = *disk_link_compared(l, i)}};

	snprintf(m.disk.name, sizeof(m.disk.name), "%s", disk_link_name(l, i));
	snprintf(m.disk.why, sizeof(m.disk.why), "%.150s", st->why);
	post(d, &m);
}

/* Passes on what there is of the disks. Negative: the session is over, and it was told. */
static int pump_disks(struct primary_data *d)
{
	struct err e = ERR_INIT;
	uint64_t now;
	int rc;

	if (!d->disks)
		return 0;
	rc = primary_ports_pump(d->disks, d->link.conn, &e);
	if (rc < 0) {
		drop_link(d, e.text);
		return rc;
	}
	now = clock_now();
	if (d->link.conn && now >= primary_ports_deadline(d->disks)) {
		drop_link(d, "the backup does not answer for its disks");
		return -ETIMEDOUT;
	}
	if (now < d->figures_at_ns)
		return 0;
	d->figures_at_ns = now + DISK_FIGURES_NS;
	for (unsigned int i = 0; i < disk_link_disks(primary_ports_link(d->disks)); i++) {
		if (primary_ports_changed(d->disks, i))
			post_figures(d, i);
	}
	return 0;
}

static void wait_for_disks(struct primary_data *d)
{
	struct pollfd p[WIRE_MAX_DISKS + 2];
	unsigned int n = primary_ports_poll(d->disks, p);

	p[n++] = (struct pollfd){.fd = d->urgent_fd, .events = POLLIN};
	if (d->link.conn && !(conn_ready(d->link.conn) & CONN_FRAME))
		p[n++] = (struct pollfd){.fd = conn_fd(d->link.conn),
					 .events = conn_events(d->link.conn)};
	if (poll(p, n, primary_ports_more(d->disks) ? 0 : DISK_END_POLL_MS) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
}

static bool is_urgent(const struct primary_data *d)
{
	struct pollfd p = {.fd = d->urgent_fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* checkpoint.before_end: all of the epoch's writes are on their way before its end is. */
static int disks_before_end(void *arg, uint64_t epoch, struct err *e)
{
	struct primary_data *d = arg;
	uint64_t deadline = clock_now() + d->conf.timing.send_timeout_ns;

	while (!primary_ports_ended(d->disks)) {
		if (!primary_ports_whole(d->disks))
			return err_setx(e, -ENODATA, "a disk is not in the stream");
		if (is_urgent(d))
			return err_setx(e, -ECANCELED, "cancelled");
		if (clock_now() >= deadline)
			return err_setx(e, -ETIMEDOUT,
					"a disk's server did not end epoch %" PRIu64 " in time",
					epoch);
		if (pump_disks(d) < 0 || read_peer(d) < 0)
			return err_setx(e, -ENOTCONN, "the session ended");
		if (!primary_ports_ended(d->disks))
			wait_for_disks(d);
	}
	return 0;
}

static void settle_disks(struct primary_data *d, enum pd_msg_type answer)
{
	uint64_t deadline = clock_now() + SETTLE_NS;
	struct pd_msg m = {.type = answer};
	struct err e = ERR_INIT;
	int rc;

	rc = answer == PD_DISKS_ALONE_DONE ? primary_ports_alone(d->disks, deadline, &e)
					   : primary_ports_deposed(d->disks, deadline, &e);
	/* Whoever wants the session dropped has said so behind this command. */
	m.again = rc == -ECANCELED;
	if (rc < 0)
		snprintf(m.text, sizeof(m.text), "%s", e.text);
	post(d, &m);
}

static void do_handover(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct err e = ERR_INIT;

	if (d->link.conn &&
	    primary_link_send_handover(&d->link, cmd->epoch, cmd->planned,
				       clock_now() + d->conf.timing.send_timeout_ns, &e) < 0)
		drop_link(d, e.text);
	/* It takes a while, for which a guest that is moved would stand still. */
	guest_logdirty_disable(d->guest);
}

/* Asking must not cost the session anything. */
static void do_drill(struct primary_data *d, const struct pd_cmd *cmd)
{
	const struct wire_drill m = {.id = cmd->drill, .text = cmd->text, .size = cmd->text_size};
	struct pd_msg no = {.type = PD_DRILL_SAYS, .drill = cmd->drill};
	struct err e = ERR_INIT;
	int rc = err_setx(&e, -EAGAIN, "there is no session with the backup");

	if (d->link.conn)
		rc = primary_link_send_drill(&d->link, &m,
					     clock_now() + d->conf.timing.send_timeout_ns, &e);
	mem_free(cmd->text);
	if (rc == 0)
		return;
	snprintf(no.text, sizeof(no.text), "%s", e.text);
	post(d, &no);
	if (rc != -EAGAIN)
		drop_link(d, e.text);
}

/* ---- first copy ---- */

static int copy_between(void *arg, const struct first_copy *fc, struct err *e)
{
	struct primary_data *d = arg;
	struct pd_msg m = {.type = PD_COPY_PROGRESS};
	uint64_t now = clock_now();

	if (now >= d->health_at_ns)
		check_health(d);
	if (pump_disks(d) < 0)
		return err_setx(e, -ENOTCONN, "the session ended");
	if (now < d->progress_at_ns)
		return 0;
	d->progress_at_ns = now + PROGRESS_NS;
	m.round = fc->round;
	m.done = fc->round_done;
	m.total = fc->round_pages;
	m.epoch = fc->sent;
	count_wire(d, &m);
	post(d, &m);
	if (read_peer(d) < 0)
		return err_setx(e, -ENOTCONN, "the session ended");
	return 0;
}

/* libxl's configuration of the domain, fresh: a device may have been attached since the last session. */
static int read_config(struct primary_data *d, size_t *size, struct err *e)
{
	char domid[16], said[512];
	const char *const argv[] = {DOMAIN_TOOL, "config", domid, NULL};
	/* A warning of libxl is not part of it. */
	struct spawn sp = {.argv = argv,
			   .timeout_ns = CONFIG_TIMEOUT_NS,
			   .out = d->json,
			   .out_size = WIRE_CONFIG_MAX + 1,
			   .err = said,
			   .err_size = sizeof(said)};
	int rc;

	snprintf(domid, sizeof(domid), "%u", d->guest->info.domid);
	rc = spawn_check(&sp, e);
	if (rc < 0)
		return err_wrap(e, rc, "the guest's configuration");
	if (sp.out_cut || sp.out_used < 2)
		return err_setx(e, -EMSGSIZE, "the guest's configuration has no usable size");
	*size = sp.out_used;
	return 0;
}

static int start_session(struct primary_data *d, struct err *e)
{
	const struct guest_static *st;
	size_t size = 0;
	int rc;

	page_enc_free(d->enc);
	d->enc = NULL;
	memset(&d->cp.told, 0, sizeof(d->cp.told));
	rc = page_enc_new(&d->enc, d->conf.cache_slots, e);
	if (rc < 0)
		return rc;
	rc = guest_static_state(d->guest, &st, e);
	if (rc < 0)
		return rc;
	rc = read_config(d, &size, e);
	if (rc < 0)
		return rc;
	return primary_link_send_config(&d->link, d->json, size, st,
					clock_now() + d->conf.timing.send_timeout_ns, e);
}

static void do_disks_sync(struct primary_data *d)
{
	struct err e = ERR_INIT;
	int rc;

	if (!d->link.conn)
		return;
	guest_settle(d->guest);
	rc = start_session(d, &e);
	d->head_sent = rc == 0;
	if (rc == 0)
		rc = primary_ports_begin(d->disks, d->link.conn, &e);
	if (rc == -ENODEV)
		post_text(d, PD_DISK_DROPPED, 0, e.text);
	else if (rc < 0)
		drop_link(d, e.text);
}

static void do_start_copy(struct primary_data *d)
{
	struct first_copy fc = {
		.guest = d->guest,
		.conn = d->link.conn,
		.dirty = d->cp.dirty,
		.arena_pages = d->conf.arena_pages,
		.send_timeout_ns = d->conf.timing.send_timeout_ns,
		.between = copy_between,
		.arg = d,
	};
	struct pd_msg failed = {.type = PD_COPY_FAILED, .leave = LEAVE_RESYNC};
	struct err e = ERR_INIT;
	int rc;

	if (!d->link.conn)
		return;
	guest_settle(d->guest);
	rc = d->head_sent ? 0 : start_session(d, &e);
	if (rc == 0) {
		fc.enc = d->enc;
		rc = first_copy_run(&fc, &e);
	}
	if (rc == 0) {
		post_text(d, PD_COPY_DONE, 0, "");
		return;
	}
	if (!d->link.conn)
		return; /* told already, with its reason */
	if (rc == -ENOSPC || rc == -ESTALE) {
		snprintf(failed.text, sizeof(failed.text), "%s", e.text);
		post(d, &failed);
		return;
	}
	drop_link(d, e.text);
}

/* ---- epochs ---- */

static void send_epoch(struct primary_data *d, uint64_t epoch)
{
	struct pd_msg sent = {.type = PD_SENT, .epoch = epoch};
	struct err e = ERR_INIT;
	int rc = checkpoint_send(&d->cp, epoch, d->enc, d->link.conn,
				 clock_now() + d->conf.timing.send_timeout_ns, &e);

	if (rc == -ENODATA && d->link.conn)
		return; /* the disk's end was told: there will be no such epoch */
	if (rc < 0) {
		if (d->link.conn)
			drop_link(d, e.text);
		return;
	}
	if (d->disks)
		primary_ports_epoch_over(d->disks);
	/* The lease counts from before the backup can have had all of it. */
	sent.at_ns = d->cp.end_ns;
	count_wire(d, &sent);
	post(d, &sent);
}

/* The guest's AVX registers are wrong from here on: the one harm that a checkpoint can do and not undo. */
static void tell_ext_lost(struct primary_data *d)
{
	uint64_t lost = d->guest->counters.ext_lost;

	if (lost == d->ext_lost)
		return;
	log_err("a vCPU's extended registers (AVX) could not be put back after a checkpoint, %llu times so far: "
		"programs in the guest that use them may compute wrongly",
		(unsigned long long)lost);
	d->ext_lost = lost;
}

static void do_checkpoint(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct pd_msg taken = {.type = PD_TAKEN, .epoch = cmd->epoch};
	struct err e = ERR_INIT;

	d->cp.stay = cmd->last;
	switch (checkpoint_take(&d->cp, cmd->epoch, clock_now() + d->conf.timing.suspend_timeout_ns,
				&e)) {
	case CHECKPOINT_TAKEN:
		d->parked = cmd->last;
		taken.pages = (uint32_t)d->cp.dirty_pages;
		taken.phases = d->cp.phases;
		taken.suspend_path = d->cp.suspend.path;
		taken.self_aware = d->cp.state->self_aware;
		taken.guest = d->guest->counters;
		post(d, &taken);
		tell_ext_lost(d);
		/* They collect while the pages are encoded. */
		if (d->disks)
			primary_ports_ask_end(d->disks, cmd->epoch);
		if (d->link.conn)
			send_epoch(d, cmd->epoch);
		return;
	case CHECKPOINT_ABORTED:
		post_text(d, PD_ABORTED, cmd->epoch, e.text);
		return;
	case CHECKPOINT_OVERFLOW:
	case CHECKPOINT_RESYNC:
		post_text(d, PD_ABORTED, cmd->epoch, e.text);
		post_guest(d, LEAVE_RESYNC, e.text);
		return;
	case CHECKPOINT_GUEST:
		post_text(d, PD_ABORTED, cmd->epoch, e.text);
		post_guest(d, leave_of_suspend(&d->cp.suspend), e.text);
		return;
	case CHECKPOINT_STUCK:
		/* The supervisor starts us again, and a fresh handle resumes it. */
		die("the guest cannot be resumed: %s", e.text);
	}
}

static void do_resume(struct primary_data *d)
{
	int rc;

	if (!d->parked)
		return;
	d->parked = false;
	rc = checkpoint_resume(&d->cp);
	/* That it is gone is seen with its health. */
	if (rc < 0 && rc != -ESRCH)
		die("the guest cannot be resumed: %s", strerror(-rc));
}

static void do_throttle(struct primary_data *d, const struct pd_cmd *cmd)
{
	struct err e = ERR_INIT;

	if (guest_cpu_cap(d->guest, cmd->percent, &e) < 0)
		log_warn("guest's CPU cap of %u%%: %s", cmd->percent, e.text);
}

/* ---- the thread ---- */

static void obey(struct primary_data *d, const struct pd_cmd *cmd)
{
	switch (cmd->type) {
	case PD_CONNECT:
		do_connect(d, cmd);
		break;
	case PD_DISCONNECT:
		do_disconnect(d);
		break;
	case PD_START_COPY:
		do_start_copy(d);
		break;
	case PD_CHECKPOINT:
		do_checkpoint(d, cmd);
		break;
	case PD_BYE:
		do_bye(d, cmd);
		break;
	case PD_THROTTLE:
		do_throttle(d, cmd);
		break;
	case PD_STOP:
		d->stop = true;
		break;
	case PD_DISKS_SYNC:
		do_disks_sync(d);
		break;
	case PD_DISKS_ACKED:
		primary_ports_acked(d->disks, cmd->epoch);
		break;
	case PD_DISKS_LEAVE:
		primary_ports_leave(d->disks);
		break;
	case PD_DISKS_ALONE:
		settle_disks(d, PD_DISKS_ALONE_DONE);
		break;
	case PD_DISKS_DEPOSED:
		settle_disks(d, PD_DISKS_DEPOSED_DONE);
		break;
	case PD_DISKS_VERIFY:
		primary_ports_verify(d->disks, cmd->pass);
		break;
	case PD_HANDOVER:
		do_handover(d, cmd);
		break;
	case PD_RESUME:
		do_resume(d);
		break;
	case PD_DRILL:
		do_drill(d, cmd);
		break;
	}
}

static void wait_for_work(struct primary_data *d)
{
	struct pollfd p[2 + WIRE_MAX_DISKS] = {{.fd = queue_fd(d->commands), .events = POLLIN},
					       {.fd = -1}};
	uint64_t now = clock_now();
	unsigned int n = 2;

	if (d->link.conn) {
		if (conn_ready(d->link.conn) & CONN_FRAME)
			return;
		p[1].fd = conn_fd(d->link.conn);
		p[1].events = conn_events(d->link.conn);
	}
	if (d->disks && primary_ports_more(d->disks))
		now = d->health_at_ns; /* only a look */
	if (d->disks)
		n += primary_ports_poll(d->disks, p + n);
	if (poll(p, n, clock_poll_ms(clock_until(d->health_at_ns, now))) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
}

static void *data_thread(void *arg)
{
	struct primary_data *d = arg;
	struct pd_cmd cmd;

	while (!d->stop) {
		wait_for_work(d);
		(void)read_peer(d);
		(void)pump_disks(d);
		while (!d->stop && queue_get(d->commands, &cmd))
			obey(d, &cmd);
		if (clock_now() >= d->health_at_ns)
			check_health(d);
	}
	primary_link_close(&d->link);
	primary_ports_free(d->disks);
	d->disks = d->link.disks = NULL;
	post_text(d, PD_STOPPED, 0, "");
	return NULL;
}

/* ---- control thread ---- */

static int set_up_disks(struct primary_data *d, struct err *e)
{
	struct primary_ports_conf c = {
		.link = *d->conf.disks,
		.open_timeout_ns = d->conf.timing.handshake_timeout_ns,
		.answer_timeout_ns = DISKS_OK_NS,
		.send_timeout_ns = d->conf.timing.send_timeout_ns,
		.tell = disks_tell,
		.arg = d,
	};
	int rc;

	c.link.side = FRAME_PRIMARY;
	c.link.run_dir = d->conf.conf->run_dir;
	c.link.vm = d->conf.vm;
	c.link.wake_fd = d->urgent_fd;
	d->cp.before_end = disks_before_end;
	d->cp.arg = d;
	rc = primary_ports_new(&d->disks, &c, e);
	d->link.disks = d->disks;
	return rc;
}

static int set_up(struct primary_data *d, struct err *e)
{
	int rc;

	d->urgent_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->urgent_fd < 0)
		return err_set(e, -errno, "eventfd");
	rc = queue_new(&d->commands, sizeof(struct pd_cmd), COMMANDS, e);
	if (rc == 0)
		rc = queue_new(&d->messages, sizeof(struct pd_msg), MESSAGES, e);
	if (rc == 0)
		rc = arena_init(&d->arena, d->conf.arena_pages, true, e);
	if (rc < 0)
		return rc;
	d->json = mem_alloc(WIRE_CONFIG_MAX + 1);
	d->cp.dirty = mem_array(guest_bitmap_words(d->guest), sizeof(uint64_t));
	if (!d->json || !d->cp.dirty)
		return err_set(e, -ENOMEM, "dirty bitmap");
	d->cp.guest = d->guest;
	d->cp.n_devices = d->conf.n_devices;
	memcpy(d->cp.device, d->conf.device, sizeof(d->cp.device));
	d->cp.arena = &d->arena;
	if (d->conf.disks)
		rc = set_up_disks(d, e);
	if (rc < 0)
		return rc;
	rc = -pthread_create(&d->thread, NULL, data_thread, d);
	if (rc < 0)
		return err_set(e, rc, "data thread");
	d->started = true;
	return 0;
}

int primary_data_new(struct primary_data **out, const struct pd_conf *conf, struct guest *guest,
		     struct err *e)
{
	struct primary_data *d = mem_zalloc(sizeof(*d));
	int rc;

	*out = NULL;
	if (!d)
		return err_set(e, -ENOMEM, "data thread");
	d->conf = *conf;
	d->guest = guest;
	d->urgent_fd = -1;
	d->health_said = GUEST_HEALTH_RUNNING;
	rc = set_up(d, e);
	if (rc < 0) {
		primary_data_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void primary_data_command(struct primary_data *d, const struct pd_cmd *cmd)
{
	if (!queue_put(d->commands, cmd))
		die("the data thread has %d commands waiting", COMMANDS);
}

bool primary_data_busy(const struct primary_data *d)
{
	return queue_depth(d->commands) >= COMMANDS / 2;
}

void primary_data_cancel(struct primary_data *d)
{
	uint64_t one = 1;

	if (write(d->urgent_fd, &one, sizeof(one)) < 0)
		log_warn("urgent descriptor: %s", strerror(errno));
}

int primary_data_fd(const struct primary_data *d)
{
	return queue_fd(d->messages);
}

bool primary_data_next(struct primary_data *d, struct pd_msg *msg)
{
	return queue_get(d->messages, msg);
}

/* Of questions about drills that nobody has come to. */
static void forget_texts(struct primary_data *d)
{
	struct pd_cmd cmd;
	struct pd_msg m;

	while (d->commands && queue_get(d->commands, &cmd))
		mem_free(cmd.text);
	while (d->messages && queue_get(d->messages, &m))
		mem_free(m.json);
}

void primary_data_free(struct primary_data *d)
{
	const struct pd_cmd stop = {.type = PD_STOP};

	if (!d)
		return;
	if (d->started) {
		primary_data_cancel(d);
		primary_data_command(d, &stop);
		pthread_join(d->thread, NULL);
	}
	forget_texts(d);
	primary_ports_free(d->disks);
	page_enc_free(d->enc);
	arena_fini(&d->arena);
	queue_free(d->commands);
	queue_free(d->messages);
	mem_free(d->json);
	mem_free(d->cp.dirty);
	if (d->urgent_fd >= 0)
		close(d->urgent_fd);
	mem_free(d);
}
