/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rig of the leak test: see leak_rig.h.
 */
#include "tests/lab/leak_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/spawn.h"

#define MAGIC UINT64_C(0x6c65616b2d746573)
#define TAG_AT 64 /* behind the headers of all protocols */
#define BATCH 64
#define COMMAND_NS (20 * NS_PER_SEC)

const uint16_t leak_ethertypes[TYPES] = {ETH_P_IP, ETH_P_IPV6, ETH_P_ARP, 0x88b5};

struct tag {
	uint64_t magic;
	uint64_t epoch;
};

void rig_check(int rc, const struct err *e, const char *what)
{
	if (rc < 0)
		die("%s: %s", what, e->text[0] ? e->text : strerror(-rc));
}

static uint64_t real_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void nap_ms(long ms)
{
	const struct timespec ts = {.tv_nsec = ms * 1000000};

	nanosleep(&ts, NULL);
}

/* ---- devices ---------------------------------------------------------------- */

int rig_command(const char *line, char *out, size_t out_size)
{
	const char *argv[24];
	autofree char *copy = mem_strdup(line);
	struct err e = ERR_INIT;
	struct spawn s = {.argv = argv, .timeout_ns = COMMAND_NS, .out = out, .out_size = out_size};
	char *save = NULL;
	size_t n = 0;

	if (!copy)
		die("no memory");
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		if (n + 1 >= ARRAY_SIZE(argv))
			die("too many words: %s", line);
		argv[n++] = w;
	}
	argv[n] = NULL;
	rig_check(spawn_run(&s, &e), &e, line);
	return s.status;
}

void rig_must(const char *line)
{
	char out[256];

	if (rig_command(line, out, sizeof(out)) != 0)
		die("%s: %s", line, out);
}

void rig_remove(void)
{
	(void)rig_command("ip link del " IFB, NULL, 0);
	(void)rig_command("ip link del lk0", NULL, 0);
	(void)rig_command("ip link del lk1", NULL, 0);
	(void)rig_command("ip link del lkbr", NULL, 0);
	(void)unlink(PIN);
}

/* A lane that is let out is one burst, and the veth pairs queue it in the receive backlog. */
static void widen_backlog(void)
{
	static const char path[] = "/proc/sys/net/core/netdev_max_backlog";
	static const char frames[] = "1000000";
	autofd fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, frames, sizeof(frames) - 1) < 0)
		die("%s: %s", path, strerror(errno));
}

void rig_make(void)
{
	static const char *const lines[] = {
		"ip link add lkbr type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
		"ip link add lk0 type veth peer name " VIF,
		"ip link add lk1 type veth peer name lk2",
		"ip link set " VIF " master lkbr",
		"ip link set lk1 master lkbr",
		"ip link set lkbr up",
		"ip link set lk0 up",
		"ip link set " VIF " up",
		"ip link set lk1 up",
		"ip link set lk2 up",
	};

	widen_backlog();
	rig_remove();
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		rig_must(lines[i]);
}

/* ---- frames ------------------------------------------------------------------- */

static int packet_socket(const char *dev, uint16_t protocol)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = (int)if_nametoindex(dev),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(protocol));

	if (fd < 0 || bind(fd, (struct sockaddr *)&sll, sizeof(sll)) < 0)
		die("packet socket on %s: %s", dev, strerror(errno));
	return fd;
}

static void frame_init(uint8_t f[FRAME_SIZE], uint16_t type)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};

	memset(f, 0, FRAME_SIZE);
	memcpy(f, macs, sizeof(macs));
	f[12] = (uint8_t)(type >> 8);
	f[13] = (uint8_t)type;
	if (type == ETH_P_IP) {
		f[14] = 0x45;
		f[17] = FRAME_SIZE - 14;
		f[22] = 64;
		f[23] = 253; /* for experiments */
	} else if (type == ETH_P_IPV6) {
		f[14] = 0x60;
		f[19] = FRAME_SIZE - 14 - 40;
		f[20] = 253;
		f[21] = 64;
	} else if (type == ETH_P_ARP) {
		f[15] = 1;
		f[16] = 8;
		f[18] = 6;
		f[19] = 4;
		f[21] = 1;
	}
}

static void *sender(void *arg)
{
	struct test *t = arg;
	uint8_t frames[TYPES][FRAME_SIZE];
	struct iovec iov[TYPES];
	struct mmsghdr msgs[TYPES];
	autofd fd = packet_socket("lk0", ETH_P_ALL);
	int one = 1;

	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0)
		die("PACKET_QDISC_BYPASS: %s", strerror(errno));
	/* The control thread shall get its turn on a small machine; nobody is stopped. */
	(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
	memset(msgs, 0, sizeof(msgs));
	for (size_t i = 0; i < TYPES; i++) {
		frame_init(frames[i], leak_ethertypes[i]);
		iov[i] = (struct iovec){.iov_base = frames[i], .iov_len = FRAME_SIZE};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	while (!atomic_load(&t->stop_senders)) {
		struct tag tag = {.magic = MAGIC, .epoch = atomic_load(&t->epoch)};
		int n;

		for (size_t i = 0; i < TYPES; i++)
			memcpy(frames[i] + TAG_AT, &tag, sizeof(tag));
		n = sendmmsg(fd, msgs, TYPES, 0);
		if (n > 0)
			atomic_fetch_add(&t->sent, (uint64_t)n);
	}
	return NULL;
}

static uint64_t stamp_of(struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		struct timespec ts;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&ts, CMSG_DATA(c), sizeof(ts));
		return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
	}
	die("a frame without a time stamp");
}

static void judge(struct test *t, const uint8_t *f, size_t len, uint64_t stamp)
{
	struct tag tag;
	uint64_t released;

	if (len < TAG_AT + sizeof(tag))
		return;
	memcpy(&tag, f + TAG_AT, sizeof(tag));
	if (tag.magic != MAGIC)
		return;
	atomic_fetch_add(&t->received, 1);
	for (size_t i = 0; i < TYPES; i++)
		if (f[12] == leak_ethertypes[i] >> 8 && f[13] == (leak_ethertypes[i] & 0xff))
			atomic_fetch_add(&t->seen[i], 1);
	if (tag.epoch > t->epochs) {
		atomic_fetch_add(&t->leaked, 1);
		return;
	}
	released = atomic_load(&t->released[tag.epoch]);
	if (released == 0 || stamp < released) {
		if (atomic_fetch_add(&t->leaked, 1) < 3)
			log_info("leaked: epoch %lu, %ld us early", (unsigned long)tag.epoch,
				 released ? (long)((released - stamp) / 1000) : -1L);
	}
}

static void *receiver(void *arg)
{
	static uint8_t frames[BATCH][2048];
	static uint8_t control[BATCH][128];
	struct test *t = arg;
	struct iovec iov[BATCH];
	struct mmsghdr msgs[BATCH];
	struct tpacket_stats stats;
	socklen_t len = sizeof(stats);
	autofd fd = packet_socket("lk2", ETH_P_ALL);
	int one = 1;
	int bytes = 64 << 20;

	if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		die("receiver: %s", strerror(errno));
	atomic_store(&t->stop_receiver, false);
	for (;;) {
		int n;

		memset(msgs, 0, sizeof(msgs));
		for (size_t i = 0; i < BATCH; i++) {
			iov[i] =
				(struct iovec){.iov_base = frames[i], .iov_len = sizeof(frames[i])};
			msgs[i].msg_hdr.msg_iov = &iov[i];
			msgs[i].msg_hdr.msg_iovlen = 1;
			msgs[i].msg_hdr.msg_control = control[i];
			msgs[i].msg_hdr.msg_controllen = sizeof(control[i]);
		}
		n = recvmmsg(fd, msgs, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++)
			judge(t, frames[i], msgs[i].msg_len, stamp_of(&msgs[i].msg_hdr));
		if (n <= 0) {
			if (atomic_load(&t->stop_receiver))
				break;
			(void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 20);
		}
	}
	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
		atomic_fetch_add(&t->overrun, stats.tp_drops);
	return NULL;
}

void rig_start_receiver(struct test *t)
{
	atomic_store(&t->stop_receiver, true);
	if (pthread_create(&t->receiver, NULL, receiver, t) != 0)
		die("no thread");
	while (atomic_load(&t->stop_receiver)) /* until it listens */
		nap_ms(1);
}

void rig_stop_receiver(struct test *t)
{
	atomic_store(&t->stop_receiver, true);
	pthread_join(t->receiver, NULL);
}

void rig_start_senders(struct test *t)
{
	for (int i = 0; i < SENDERS; i++)
		if (pthread_create(&t->senders[i], NULL, sender, t) != 0)
			die("no thread");
}

void rig_stop_senders(struct test *t)
{
	atomic_store(&t->stop_senders, true);
	for (int i = 0; i < SENDERS; i++)
		pthread_join(t->senders[i], NULL);
}

/* ---- netbuf -------------------------------------------------------------------- */

/* --break: the lane behind goes out as well, which nobody acknowledged. */
static int release_too_much(void *ctx, unsigned int vif, unsigned int lane)
{
	int rc = lanes_nl_ops.release(ctx, vif, (lane + 1) % LANES);

	return rc < 0 ? rc : lanes_nl_ops.release(ctx, vif, lane);
}

static void tampered(void *arg, unsigned int vif, enum lane_tamper how, const char *what)
{
	struct test *t = arg;

	t->tampered[how]++;
	if (t->life)
		log_info("tampered with: %s", what);
}

void rig_up(struct test *t)
{
	static const char *const vifs[] = {VIF};
	static struct lane_ops ops;
	struct err e = ERR_INIT;
	struct netbuf_conf conf = {
		.ops = &ops, .lane_bytes = LANE_BYTES, .tampered = tampered, .arg = t};

	ops = lanes_nl_ops;
	if (t->breaks)
		ops.release = release_too_much;
	memset(t->tampered, 0, sizeof(t->tampered));
	t->lanes = lanes_nl_new(vifs, 1, LANE_BYTES, &e);
	conf.ctx = t->lanes;
	t->nb = t->lanes ? netbuf_new(&conf, &e) : NULL;
	rig_check(e.rc, &e, "netbuf");
	t->d = netbuf_device(t->nb);
	rig_check(t->d->ops->setup(t->d, &e), &e, "setup");
}

void rig_crash(struct test *t)
{
	netbuf_free(t->nb);
	lanes_nl_free(t->lanes);
	t->nb = NULL;
	t->lanes = NULL;
}

void rig_serve(struct test *t)
{
	struct pollfd p = {.fd = netbuf_watch_fd(t->nb), .events = POLLIN};
	uint64_t now = clock_now();

	if (now >= netbuf_next_deadline(t->nb))
		netbuf_poll(t->nb, now);
	if (poll(&p, 1, 0) > 0)
		netbuf_watch(t->nb);
}

void rig_checkpoint(struct test *t, uint64_t n)
{
	uint64_t end = clock_now() + 30 * NS_PER_SEC;
	int rc;

	while ((rc = t->d->ops->prepare(t->d, n)) == -EAGAIN && clock_now() < end)
		rig_serve(t);
	if (rc < 0)
		die("prepare(%lu): %s", (unsigned long)n, strerror(-rc));
	rc = t->d->ops->postsuspend(t->d, n);
	if (rc == 0)
		rc = t->d->ops->preresume(t->d, n);
	if (rc < 0)
		die("checkpoint %lu: %s", (unsigned long)n, strerror(-rc));
	atomic_store(&t->epoch, n + 1); /* after the switch */
}

void rig_commit(struct test *t, uint64_t n)
{
	int rc;

	atomic_store(&t->released[n], real_now());
	rc = t->d->ops->commit(t->d, n);
	if (rc < 0)
		die("commit(%lu): %s", (unsigned long)n, strerror(-rc));
}

void rig_open(struct test *t)
{
	struct err e = ERR_INIT;
	uint64_t end = clock_now() + 20 * NS_PER_SEC;
	uint64_t now = real_now();

	for (uint64_t n = 0; n <= t->epochs; n++)
		if (atomic_load(&t->released[n]) == 0)
			atomic_store(&t->released[n], now);
	rig_check(t->d->ops->open(t->d, &e), &e, "open");
	while (!netbuf_is_open(t->nb) && clock_now() < end)
		rig_serve(t);
	if (!netbuf_is_open(t->nb))
		die("open does not come to an end");
}

#define SOON_NS (10 * NS_PER_SEC)

bool rig_within(uint64_t ns, cond_fn *cond, struct test *t, uint64_t arg)
{
	uint64_t end = clock_now() + ns;

	while (!cond(t, arg)) {
		if (clock_now() > end)
			return false;
		if (t->nb)
			rig_serve(t);
		nap_ms(1);
	}
	return true;
}

bool rig_soon(cond_fn *cond, struct test *t, uint64_t arg)
{
	return rig_within(SOON_NS, cond, t, arg);
}

void rig_send(struct test *t, unsigned int n)
{
	autofd fd = packet_socket("lk0", ETH_P_ALL);
	struct tag tag = {.magic = MAGIC, .epoch = atomic_load(&t->epoch)};
	uint8_t f[FRAME_SIZE];

	for (unsigned int i = 0; i < n; i++) {
		for (size_t k = 0; k < TYPES; k++) {
			frame_init(f, leak_ethertypes[k]);
			memcpy(f + TAG_AT, &tag, sizeof(tag));
			if (send(fd, f, sizeof(f), 0) != FRAME_SIZE)
				die("send: %s", strerror(errno));
		}
	}
}
