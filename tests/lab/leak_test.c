/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs in a dom0, as root: the real netbuffer on a veth pair in place of a guest's vif;
 * leak_rig.h says how.
 *
 * leak_test [--epochs=N] [--break]   --break lets lanes out early: must be found
 * leak_test --life                   adoption after a crash, tampering, teardown
 */
#include <argp.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "tests/lab/leak_rig.h"

/* ---- the leak test ---------------------------------------------------------------- */

static void run_epochs(struct test *t)
{
	uint64_t done = 0; /* committed are all below */
	uint64_t rng = 88172645463325252U;

	for (uint64_t n = 0; n < t->epochs; n++) {
		rig_checkpoint(t, n);
		rig_serve(t);
		/* The acknowledgement is up to two epochs late. */
		rng ^= rng << 13;
		rng ^= rng >> 7;
		rng ^= rng << 17;
		while (n + 1 - done > rng % 3) {
			rig_commit(t, done++);
			rig_serve(t);
		}
		if (n % 10000 == 0)
			log_info("epoch %lu, %lu frames seen, %lu leaked", (unsigned long)n,
				 (unsigned long)atomic_load(&t->received),
				 (unsigned long)atomic_load(&t->leaked));
	}
}

static bool all_seen(const struct test *t)
{
	for (size_t i = 0; i < TYPES; i++)
		if (atomic_load(&t->seen[i]) == 0)
			return false;
	return true;
}

static bool quiet(struct test *t, uint64_t lost)
{
	return atomic_load(&t->received) + lost >= atomic_load(&t->sent);
}

static int leak(struct test *t)
{
	struct netbuf_stats s;
	struct netbuf_counters c;
	struct err e = ERR_INIT;
	uint64_t leaked;
	int64_t lost;
	bool missing;

	rig_up(t);
	rig_start_receiver(t);
	rig_start_senders(t);
	run_epochs(t);
	leaked = atomic_load(&t->leaked);
	rig_stop_senders(t);
	rig_open(t);
	netbuf_poll(t->nb, clock_now());
	netbuf_get_stats(t->nb, 0, &s);
	netbuf_get_counters(t->nb, &c);
	missing = !rig_soon(quiet, t, s.dropped_frames);
	rig_stop_receiver(t);
	leaked = MAX(leaked, (uint64_t)atomic_load(&t->leaked));
	rig_check(t->d->ops->teardown(t->d, &e), &e, "teardown");
	rig_crash(t);
	log_info("sent=%lu dropped=%lu overrun=%lu peak_bytes=%lu waits=%lu again=%lu failures=%lu",
		 (unsigned long)t->sent, (unsigned long)s.dropped_frames, (unsigned long)t->overrun,
		 (unsigned long)s.peak_bytes, (unsigned long)c.waits, (unsigned long)c.again,
		 (unsigned long)c.failures);
	log_info("ipv4=%lu ipv6=%lu arp=%lu 88b5=%lu tampered=%u", (unsigned long)t->seen[0],
		 (unsigned long)t->seen[1], (unsigned long)t->seen[2], (unsigned long)t->seen[3],
		 t->tampered[0] + t->tampered[1] + t->tampered[2] + t->tampered[3]);
	lost = (int64_t)(t->sent - t->received - s.dropped_frames - t->overrun);
	if (missing)
		log_info("%ld frames were lost on the way", (long)lost);
	printf("leak: epochs=%lu frames=%lu leaked=%lu\n", (unsigned long)c.switches,
	       (unsigned long)t->received, (unsigned long)leaked);
	/* P4: nothing is lost either, but what did not fit into a lane. */
	if (leaked > 0 || lost != 0 || c.switches < t->epochs || c.failures > 0)
		return 1;
	return all_seen(t) ? 0 : 1;
}

/* ---- the life of lanes --------------------------------------------------------------- */

static unsigned int bad;

static void expect(bool cond, const char *what)
{
	printf("%s %s\n", cond ? "ok" : "FAIL", what);
	bad += !cond;
}

static bool received(struct test *t, uint64_t n)
{
	return atomic_load(&t->received) >= n;
}

/* Frames in the lanes; the IFB's own multicast may add a few. */
static bool held(struct test *t, uint64_t n)
{
	struct netbuf_stats s;

	netbuf_poll(t->nb, clock_now() + NETBUF_PRESSURE_POLL_NS);
	netbuf_get_stats(t->nb, 0, &s);
	return s.held_frames >= n;
}

static bool was_tampered(struct test *t, uint64_t how)
{
	return t->tampered[how] > 0;
}

static void life_of_a_crash(struct test *t)
{
	rig_up(t);
	rig_send(t, 5);
	expect(rig_soon(received, t, 20), "output passes before the first checkpoint");
	rig_checkpoint(t, 0);
	rig_send(t, 5);
	rig_checkpoint(t, 1);
	rig_send(t, 5);
	expect(rig_soon(held, t, 40), "output of two epochs is held");
	rig_crash(t);
	rig_up(t);
	expect(netbuf_adopted_held(t->nb), "a successor finds it held");
	rig_send(t, 5);
	expect(rig_soon(held, t, 60), "and goes on holding it");
	expect(atomic_load(&t->received) == 20, "nothing got out meanwhile");
	unlink(PIN);
	rig_crash(t);
	rig_up(t);
	expect(netbuf_adopted_held(t->nb) && rig_soon(held, t, 60),
	       "also when the pinned word is lost");
	expect(atomic_load(&t->received) == 20, "still nothing got out");
	rig_open(t);
	expect(rig_soon(received, t, 80), "open lets all of it out");
	rig_checkpoint(t, 2);
	rig_commit(t, 2);
	rig_send(t, 1);
	expect(rig_soon(held, t, 4), "protection starts again in the same lanes");
	rig_open(t);
	expect(rig_soon(received, t, 84), "and ends again");
}

static void life_of_tampering(struct test *t)
{
	static const struct {
		const char *command;
		enum lane_tamper how;
		const char *what;
	} cases[] = {
		{"tc filter del dev " VIF " ingress", LANE_REDIRECT_GONE,
		 "a deleted filter is noticed and put back"},
		{"tc qdisc del dev " VIF " ingress", LANE_REDIRECT_GONE,
		 "a deleted ingress queue is noticed and put back"},
		{"tc filter del dev " IFB, LANE_QDISC_GONE,
		 "a deleted classifier is noticed and put back"},
		{"tc qdisc del dev " IFB " parent 7e00:2", LANE_QDISC_GONE,
		 "a deleted lane is noticed and put back"},
		{"tc qdisc replace dev " IFB " root pfifo", LANE_QDISC_GONE,
		 "replaced queues are noticed"},
		{"ip link set " IFB " down", LANE_IFB_GONE, "an IFB that is shut is noticed"},
		{"ip link del " IFB, LANE_IFB_GONE, "a deleted IFB is noticed and made anew"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t before = atomic_load(&t->received);

		if (i == 5) /* the pfifo of the case before is not ours to remove */
			rig_must("tc qdisc del dev " IFB " root");
		rig_crash(t);
		rig_up(t);
		rig_serve(t);
		expect(!was_tampered(t, cases[i].how), "all is in place");
		rig_send(t, 1);
		expect(rig_soon(received, t, before + 4), "output passes");
		rig_must(cases[i].command);
		expect(rig_soon(was_tampered, t, cases[i].how), cases[i].what);
	}
}

static void life_of_teardown(struct test *t)
{
	struct err e = ERR_INIT;
	char out[1024];
	struct stat st;
	uint64_t before;

	rig_crash(t);
	rig_up(t);
	rig_checkpoint(t, 3);
	before = atomic_load(&t->received);
	rig_send(t, 100);
	expect(rig_soon(held, t, 400), "output is held before the end");
	rig_open(t);
	rig_check(t->d->ops->teardown(t->d, &e), &e, "teardown");
	expect(rig_soon(received, t, before + 400), "teardown after open loses nothing");
	expect(if_nametoindex(IFB) == 0 && stat(PIN, &st) < 0, "no IFB and no pin are left");
	expect(rig_command("tc qdisc show dev " VIF, out, sizeof(out)) == 0 &&
		       !strstr(out, "ingress"),
	       "no queue is left on the vif");
	rig_crash(t);
	rig_send(t, 1);
	expect(rig_soon(received, t, before + 404), "output passes after the end");

	rig_up(t);
	rig_checkpoint(t, 4);
	rig_send(t, 3);
	expect(rig_soon(held, t, 12), "output is held again");
	rig_check(t->d->ops->teardown(t->d, &e), &e, "teardown");
	rig_crash(t);
	rig_send(t, 3);
	expect(if_nametoindex(IFB) == 0 && stat(PIN, &st) < 0, "teardown alone leaves none either");
	expect(!rig_within(NEVER_NS, received, t, before + 405), "and nothing gets out any more");
	rig_up(t);
	rig_send(t, 1);
	expect(rig_soon(received, t, before + 408), "until the vif is taken up again");
	rig_open(t);
	rig_check(t->d->ops->teardown(t->d, &e), &e, "teardown");
	rig_crash(t);
}

static int life(struct test *t)
{
	rig_start_receiver(t);
	life_of_a_crash(t);
	life_of_tampering(t);
	life_of_teardown(t);
	rig_stop_receiver(t);
	expect(atomic_load(&t->leaked) == 0, "nothing leaked in all this");
	printf("life: failed=%u\n", bad);
	return bad ? 1 : 0;
}

static int parse(int key, char *arg, struct argp_state *state)
{
	struct test *t = state->input;

	switch (key) {
	case 'e':
		t->epochs = strtoull(arg, NULL, 10);
		return t->epochs > 0 && t->epochs < 100000000 ? 0 : EINVAL;
	case 'b':
		t->breaks = true;
		return 0;
	case 'l':
		t->life = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"epochs", 'e', "N", 0, "switch so many times (100000)", 0},
		{"break", 'b', NULL, 0, "let lanes out early: leaks must be found", 0},
		{"life", 'l', NULL, 0, "adoption, tampering and teardown instead", 0},
		{0},
	};
	static const struct argp argp = {.options = options, .parser = parse};
	static struct test t;
	int rc;

	t.epochs = 100000;
	if (argp_parse(&argp, argc, argv, 0, NULL, &t) != 0)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	t.released = mem_array(t.epochs + 1, sizeof(*t.released));
	if (!t.released)
		die("no memory");
	atomic_store(&t.released[0], 1); /* epoch 0 is before protection */
	rig_make();
	rc = t.life ? life(&t) : leak(&t);
	rig_remove();
	mem_free(t.released);
	return rc;
}
