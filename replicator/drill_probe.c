/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill_probe.h. */
#include "replicator/drill_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/compiler.h"
#include "lib/err.h"

#define ASK_NS (250 * NS_PER_MS)
/* The kernel of the copy says something by itself when it finds that it moved; what counts comes after our key. */
#define TYPE_FIRST_NS (2 * NS_PER_SEC)
#define TYPE_AGAIN_NS (3 * NS_PER_SEC)
/* What is heard in a step: a guest that talks all the time must not keep us. */
#define HEAR_MAX 64
#define FRAME_MAX 2048
/* What a pipe holds. */
#define PIPE_MAX (64 << 10)

void drill_probe_init(struct drill_probe *p)
{
	*p = (struct drill_probe){.packet_fd = -1, .console_fd = -1, .pidfd = -1, .out_fd = -1};
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- the network ----------------------------------------------------------------- */

static int own_mac(int fd, const char *ifname, uint8_t mac[6])
{
	struct ifreq rq;

	memset(&rq, 0, sizeof(rq));
	memccpy(rq.ifr_name, ifname, 0, sizeof(rq.ifr_name) - 1);
	if (ioctl(fd, SIOCGIFHWADDR, &rq) < 0)
		return -errno;
	memcpy(mac, rq.ifr_hwaddr.sa_data, 6);
	return 0;
}

int drill_probe_listen(struct drill_probe *p, const char *ifname, struct err *e)
{
	autofd fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
			   __builtin_bswap16(ETH_P_ALL));
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = __builtin_bswap16(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(ifname)};
	struct packet_mreq all = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
	uint8_t mac[6];
	int rc;

	if (fd < 0)
		return err_set(e, -errno, "packet socket");
	/* Neighbours whom the copy knew keep their addresses in its mind: what it sends to them is for us, too. */
	if (!at.sll_ifindex || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0)
		return err_set(e, -errno, "listen at %s", ifname);
	rc = own_mac(fd, ifname, mac);
	if (rc < 0)
		return err_set(e, rc, "address of %s", ifname);
	drill_ping_init(&p->ping, mac, (uint16_t)getpid());
	p->packet_fd = take_fd(&fd);
	return 0;
}

static void say(const struct drill_probe *p, const uint8_t *frame, size_t size)
{
	/* A frame that is lost is sent again. */
	if (size)
		(void)!send(p->packet_fd, frame, size, MSG_DONTWAIT);
}

static void hear(struct drill_probe *p)
{
	uint8_t frame[FRAME_MAX];
	uint8_t reply[DRILL_PING_FRAME];

	for (int i = 0; p->packet_fd >= 0 && i < HEAR_MAX; i++) {
		struct sockaddr_ll from = {.sll_pkttype = PACKET_OUTGOING};
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(p->packet_fd, frame, sizeof(frame), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &len);

		if (n < 0)
			return;
		if (from.sll_pkttype != PACKET_OUTGOING)
			say(p, reply, drill_ping_hear(&p->ping, frame, (size_t)n, reply));
	}
}

static void ask(struct drill_probe *p, uint64_t now)
{
	uint8_t frame[DRILL_PING_FRAME];

	if (p->packet_fd < 0 || now < p->ask_ns)
		return;
	p->ask_ns = clock_add(now, ASK_NS);
	say(p, frame, drill_ping_ask(&p->ping, frame));
}

/* ---- the console ------------------------------------------------------------------- */

int drill_probe_console(struct drill_probe *p, const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, -errno, "open the console %s", path);
	/* The path is the store's, and keys are pressed there. */
	if (!isatty(fd)) {
		close(fd);
		return err_setx(e, -ENOTTY, "%s is no terminal", path);
	}
	p->console_fd = fd;
	return 0;
}

static void listen_to_console(struct drill_probe *p, uint64_t now)
{
	char said[512];
	ssize_t n = 1;

	if (p->console_fd < 0)
		return;
	for (int i = 0; n > 0 && i < HEAR_MAX; i++) {
		n = read(p->console_fd, said, sizeof(said));
		p->console_moved |= n > 0 && p->typed;
	}
	/* Whoever had its other end is gone: it would be readable for ever. */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		close_one(&p->console_fd);
	if (p->console_fd < 0 || now < p->type_ns)
		return;
	p->type_ns = clock_add(now, TYPE_AGAIN_NS);
	p->typed |= write(p->console_fd, "\r", 1) == 1;
}

/* ---- the command -------------------------------------------------------------------- */

int drill_probe_command(struct drill_probe *p, const char *command, bool is_path,
			const char *const *env, struct err *e)
{
	const char *const by_shell[] = {"/bin/sh", "-c", command, NULL};
	const char *const by_path[] = {command, NULL};
	struct child_fd out[] = {{.theirs = 1}, {.theirs = 2}};
	int pipe_fd[2];
	int rc;

	if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(e, -errno, "pipe of the probe");
	out[0].ours = out[1].ours = pipe_fd[1];
	/* The probe's own end waits as any pipe does. */
	if (fcntl(pipe_fd[1], F_SETFL, 0) < 0)
		rc = -errno;
	else
		rc = child_start(is_path ? by_path : by_shell, env, out, ARRAY_SIZE(out), &p->pid);
	close(pipe_fd[1]);
	p->out_fd = pipe_fd[0];
	if (rc < 0) {
		p->pid = 0;
		return err_set(e, rc, "start the probe %.100s", command);
	}
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	return 0;
}

/* The end of what it said. */
static void keep(struct drill_probe *p, const char *said, size_t n)
{
	size_t room = sizeof(p->output) - 1;

	if (n >= room) {
		said += n - room;
		n = room;
	}
	if (p->used + n > room) {
		size_t gone = p->used + n - room;

		memmove(p->output, p->output + gone, p->used - gone);
		p->used -= gone;
	}
	memcpy(p->output + p->used, said, n);
	p->used += n;
	p->output[p->used] = '\0';
}

/* What it has started dies with it, while its number is still nobody else's. */
static void reap(struct drill_probe *p, int flags)
{
	siginfo_t si = {.si_pid = 0};

	if (waitid(P_PID, (id_t)p->pid, &si, WEXITED | WNOWAIT | flags) < 0 || !si.si_pid)
		return;
	(void)kill(-p->pid, SIGKILL);
	(void)waitid(P_PID, (id_t)p->pid, &si, WEXITED);
	p->over = true;
	p->status = si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
}

/* At most so many bytes. */
static void read_output(struct drill_probe *p, size_t max)
{
	char said[512];

	for (size_t got = 0; p->out_fd >= 0 && got < max;) {
		ssize_t n = read(p->out_fd, said, sizeof(said));

		/* Closed by the probe, it would be readable for ever. */
		if (n == 0)
			close_one(&p->out_fd);
		if (n <= 0)
			return;
		keep(p, said, (size_t)n);
		got += (size_t)n;
	}
}

static void listen_to_command(struct drill_probe *p)
{
	read_output(p, HEAR_MAX * 512);
	if (!p->pid || p->over)
		return;
	reap(p, WNOHANG);
	/* Its last words, which may have come since; what it has left running may go on for ever. */
	if (p->over)
		read_output(p, PIPE_MAX);
}

static void command_end(struct drill_probe *p)
{
	if (!p->pid || p->over)
		return;
	(void)kill(-p->pid, SIGKILL);
	reap(p, 0);
}

/* ---- all of it ------------------------------------------------------------------------ */

void drill_probe_fini(struct drill_probe *p)
{
	command_end(p);
	close_one(&p->packet_fd);
	close_one(&p->console_fd);
	close_one(&p->pidfd);
	close_one(&p->out_fd);
}

unsigned int drill_probe_poll(const struct drill_probe *p, struct pollfd *fds)
{
	const int all[DRILL_PROBE_FDS] = {p->packet_fd, p->console_fd, p->over ? -1 : p->pidfd,
					  p->over ? -1 : p->out_fd};

	for (unsigned int i = 0; i < DRILL_PROBE_FDS; i++)
		fds[i] = (struct pollfd){.fd = all[i], .events = POLLIN};
	return DRILL_PROBE_FDS;
}

void drill_probe_step(struct drill_probe *p, uint64_t now)
{
	if (!p->begun_ns) {
		p->begun_ns = now;
		p->type_ns = clock_add(now, TYPE_FIRST_NS);
	}
	hear(p);
	ask(p, now);
	listen_to_console(p, now);
	listen_to_command(p);
}

const char *drill_probe_answer(const struct drill_probe *p)
{
	if (p->ping.answered)
		return p->ping.answered;
	return p->console_moved ? "console" : NULL;
}
