// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * redis_checker: a client that never forgets what redis has acknowledged.
 *
 * Over one TCP connection it writes SET k:<n mod ring> <n> and, each sixteenth time, INCR c:<i>; many in flight, never more than
 * the window. At the end (SIGINT, SIGTERM or --seconds) it waits for the answers still owed, reads everything back over the
 * same connection and compares. One line at the end:
 *   acked=N lost=N gap_ms=N reconnects=N p50_us=N p99_us=N max_us=N rate=N
 * gap_ms: the longest time in which an answer was owed and none came. Exit code: 0 all there, 1 something lost, 3 the connection broke or
 * stalled longer than --stall (then it connects once more to count what is lost), 2 usage or no connection.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	OUT_SIZE = 1 << 16,
	IN_SIZE = 1 << 16,
	MAX_WINDOW = 4096,
	COUNTERS = 16,
	EACH = 16,	/* one command in so many is an INCR */
	BUCKETS = 1024, /* latency: 32 steps for each power of two of microseconds */
	SHOWN = 10,
};

struct options {
	const char *host, *port, *prefix, *log;
	double rate, seconds, stall, connect;
	unsigned window, ring;
	bool live;
};

struct request {
	uint64_t n;   /* SET: its number; INCR: the answer it must get */
	int64_t sent; /* ns */
	int counter;  /* -1: a SET */
};

struct checker {
	struct options opt;
	int fd;
	char out[OUT_SIZE], in[IN_SIZE];
	size_t out_len, in_len;
	struct request flight[MAX_WINDOW];
	unsigned first, in_flight;
	uint64_t next, acked, wrong;
	uint64_t count_sent[COUNTERS], count_acked[COUNTERS];
	uint64_t *ring_sent, *ring_acked; /* number + 1; 0: none */
	int64_t *ring_time;
	int64_t start, last_answer, gap, gap_at;
	uint64_t hist[BUCKETS], hist_n;
	int64_t worst;
	FILE *log;
};

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Latency histogram: exact below 32 us, then 32 steps for each doubling. */
static unsigned bucket_of(uint64_t us)
{
	unsigned shift = 0;
	unsigned b;

	while (us >> shift >= 64)
		shift++;
	b = us < 32 ? (unsigned)us : shift * 32 + (unsigned)(us >> shift);
	return b < BUCKETS ? b : BUCKETS - 1;
}

static uint64_t bucket_us(unsigned b)
{
	unsigned shift = b < 64 ? 0 : b / 32 - 1;

	return b < 64 ? b : (uint64_t)(b - shift * 32) << shift;
}

static uint64_t percentile(const struct checker *c, double p)
{
	uint64_t want = (uint64_t)((double)c->hist_n * p), seen = 0;
	unsigned b;

	for (b = 0; b < BUCKETS; b++) {
		seen += c->hist[b];
		if (seen > want)
			return bucket_us(b);
	}
	return 0;
}

static int dial(const struct options *o)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
	int64_t end = now() + (int64_t)(o->connect * 1e9);
	int fd = -1, one = 1, rc;
	unsigned user_timeout = 3600u * 1000;

	rc = getaddrinfo(o->host, o->port, &hints, &list);
	if (rc) {
		fprintf(stderr, "redis_checker: %s: %s\n", o->host, gai_strerror(rc));
		return -1;
	}
	do {
		for (a = list; a && fd < 0; a = a->ai_next) {
			struct pollfd p;
			socklen_t len = sizeof(rc);

			fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
			if (fd < 0)
				continue;
			rc = connect(fd, a->ai_addr, a->ai_addrlen) ? errno : 0;
			p = (struct pollfd){fd, POLLOUT, 0};
			if (rc == EINPROGRESS && poll(&p, 1, 1000) > 0)
				getsockopt(fd, SOL_SOCKET, SO_ERROR, &rc, &len);
			if (rc) {
				close(fd);
				fd = -1;
			}
		}
		if (fd < 0)
			poll(NULL, 0, 100);
	} while (fd < 0 && now() < end && !ended);
	freeaddrinfo(list);
	if (fd < 0) {
		fprintf(stderr, "redis_checker: cannot connect to %s:%s\n", o->host, o->port);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* The kernel must not give up before --stall does. */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
	return fd;
}

static void put(struct checker *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	c->out_len += (size_t)vsnprintf(c->out + c->out_len, OUT_SIZE - c->out_len, fmt, ap);
	va_end(ap);
}

static bool room(const struct checker *c)
{
	return OUT_SIZE - c->out_len > 256;
}

/* Sends what it can. -1: the connection is broken. */
static int flush_out(struct checker *c)
{
	ssize_t n;

	if (!c->out_len)
		return 0;
	n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	c->out_len -= (size_t)n;
	memmove(c->out, c->out + n, c->out_len);
	return 0;
}

static int fill_in(struct checker *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, IN_SIZE - c->in_len, 0);

	if (n == 0) {
		errno = ECONNRESET;
		return -1;
	}
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	c->in_len += (size_t)n;
	return 0;
}

/*
 * One answer out of the buffer: its type (+ - : $) and its text. *used says how long it was.
 * 0: not there yet, 1: there, -1: not RESP.
 */
static int answer(const struct checker *c, size_t from, char *type, char *text, size_t size,
		  size_t *used)
{
	const char *p = c->in + from, *eol = memmem(p, c->in_len - from, "\r\n", 2);
	size_t len;
	long bulk;

	if (!eol)
		return c->in_len - from > 4096 ? -1 : 0;
	len = (size_t)(eol - p);
	*type = *p;
	*used = len + 2;
	if (!len || !strchr("+-:$", *p))
		return -1;
	p++;
	len--;
	if (*type == '$') {
		bulk = strtol(p, NULL, 10);
		if (bulk < 0) {
			*type = '0';
			len = 0;
		} else {
			p = eol + 2;
			len = (size_t)bulk;
			if (bulk > 4096)
				return -1;
			if (c->in_len - from < *used + len + 2)
				return 0;
			*used += len + 2;
		}
	}
	if (len >= size)
		len = size - 1;
	memcpy(text, p, len);
	text[len] = 0;
	return 1;
}

static void send_one(struct checker *c)
{
	struct request *r = &c->flight[(c->first + c->in_flight) % c->opt.window];
	uint64_t n = c->next++;

	r->sent = now();
	if (n < COUNTERS) { /* the counters start at 0 */
		put(c, "SET %sc:%u 0\r\n", c->opt.prefix, (unsigned)n);
		r->counter = (int)n;
		r->n = 0;
	} else if (n % EACH == 0) {
		r->counter = (int)(n / EACH % COUNTERS);
		r->n = ++c->count_sent[r->counter];
		put(c, "INCR %sc:%d\r\n", c->opt.prefix, r->counter);
	} else {
		r->counter = -1;
		r->n = n;
		c->ring_sent[n % c->opt.ring] = n + 1;
		put(c, "SET %sk:%llu %llu\r\n", c->opt.prefix,
		    (unsigned long long)(n % c->opt.ring), (unsigned long long)n);
	}
	c->in_flight++;
}

static void complain(struct checker *c, const char *what, uint64_t n, const char *text)
{
	if (c->wrong++ < SHOWN)
		printf("wrong: %s %llu: %s\n", what, (unsigned long long)n, text);
}

static void take_answer(struct checker *c, char type, const char *text, int64_t t)
{
	struct request *r = &c->flight[c->first];
	int64_t since = max64(r->sent, c->last_answer);

	if (t - since > c->gap) {
		c->gap = t - since;
		c->gap_at = since;
	}
	c->last_answer = t;
	c->worst = max64(c->worst, t - r->sent);
	c->hist[bucket_of((uint64_t)(t - r->sent) / 1000)]++;
	c->hist_n++;
	c->first = (c->first + 1) % c->opt.window;
	c->in_flight--;
	if (r->counter >= 0 && !r->n) {
		if (type != '+')
			complain(c, "SET of counter", (uint64_t)r->counter, text);
		return;
	}
	if (r->counter >= 0) {
		if (type != ':' || strtoull(text, NULL, 10) != r->n)
			complain(c, "INCR, wanted", r->n, text);
		else
			c->count_acked[r->counter] = r->n;
	} else if (type != '+') {
		complain(c, "SET", r->n, text);
		return;
	} else {
		c->ring_acked[r->n % c->opt.ring] = r->n + 1;
		c->ring_time[r->n % c->opt.ring] = t;
	}
	c->acked++;
	if (c->log)
		fprintf(c->log, "%s %llu %lld %lld\n", r->counter < 0 ? "set" : "incr",
			(unsigned long long)r->n, (long long)r->sent, (long long)t);
}

static int take_answers(struct checker *c)
{
	size_t at = 0, used;
	char type, text[64];
	int64_t t = now();
	int rc;

	while (c->in_flight && (rc = answer(c, at, &type, text, sizeof(text), &used))) {
		if (rc < 0) {
			errno = EPROTO;
			return -1;
		}
		take_answer(c, type, text, t);
		at += used;
	}
	c->in_len -= at;
	memmove(c->in, c->in + at, c->in_len);
	return 0;
}

static void live_line(const struct checker *c, uint64_t *acked_then, int64_t *mark, int64_t t)
{
	printf("client: %.0f requests/s, last answer %lld ms ago\n",
	       (double)(c->acked - *acked_then) * 1e9 / (double)(t - *mark),
	       (long long)(t - c->last_answer) / 1000000);
	*acked_then = c->acked;
	*mark = t;
}

/* Writes until told to end, then waits for the answers owed. -1: broken. */
static int work(struct checker *c)
{
	int64_t t = now(), mark = t, pace = t,
		end = c->opt.seconds > 0 ? t + (int64_t)(c->opt.seconds * 1e9) : INT64_MAX;
	uint64_t acked_then = 0, base = 0;
	bool more = true;

	c->start = c->last_answer = t;
	for (;;) {
		struct pollfd p = {c->fd, POLLIN, 0};
		int64_t owed_since;

		t = now();
		more = more && !ended && t < end;
		if (!more && !c->in_flight)
			return 0;
		if (c->opt.rate > 0 && (double)(t - pace) / 1e9 * c->opt.rate >
					       (double)(c->next - base) + c->opt.rate) {
			pace = t; /* after a stall: go on at the pace, do not catch up */
			base = c->next;
		}
		while (more && c->in_flight < c->opt.window && room(c) &&
		       (c->opt.rate <= 0 ||
			(double)(c->next - base) <= (double)(t - pace) / 1e9 * c->opt.rate))
			send_one(c);
		if (flush_out(c))
			return -1;
		if (c->opt.live && t - mark >= 1000000000)
			live_line(c, &acked_then, &mark, t);
		owed_since = c->in_flight ? max64(c->last_answer, c->flight[c->first].sent) : t;
		if ((double)(t - owed_since) / 1e9 > c->opt.stall) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (c->out_len)
			p.events |= POLLOUT;
		if (poll(&p, 1, c->opt.rate > 0 ? 1 : 50) > 0 && (p.revents & ~POLLOUT) &&
		    (fill_in(c) || take_answers(c)))
			return -1;
	}
}

/* What the guest may hold: at least what was acknowledged, at most what was sent. Of counters, the same. */
static bool holds(char type, const char *text, uint64_t acked, uint64_t sent)
{
	uint64_t v = strtoull(text, NULL, 10);

	return type == '$' && v >= acked && v <= sent;
}

/* It has only just been started: what it says is not what it holds. */
static bool is_loading(char type, const char *text)
{
	return type == '-' && !strncmp(text, "LOADING", 7);
}

static int verify(struct checker *c, uint64_t *lost)
{
	unsigned total = c->opt.ring + COUNTERS, asked = 0, got = 0;
	int64_t last = now();

	*lost = 0;
	c->in_len = c->out_len = 0;
	while (got < total) {
		struct pollfd p = {c->fd, POLLIN, 0};
		size_t at = 0, used;
		char type, text[64];
		int rc;

		for (; asked < total && asked - got < 1024 && room(c); asked++) {
			if (asked < COUNTERS)
				put(c, "GET %sc:%u\r\n", c->opt.prefix, asked);
			else
				put(c, "GET %sk:%u\r\n", c->opt.prefix, asked - COUNTERS);
		}
		if (flush_out(c))
			return -1;
		if (c->out_len)
			p.events |= POLLOUT;
		if (poll(&p, 1, 100) > 0 && (p.revents & ~POLLOUT)) {
			if (fill_in(c))
				return -1;
			last = now();
		}
		if ((double)(now() - last) / 1e9 > c->opt.stall) {
			errno = ETIMEDOUT;
			return -1;
		}
		while (got < asked && (rc = answer(c, at, &type, text, sizeof(text), &used))) {
			unsigned k = got - COUNTERS;
			bool counter = got < COUNTERS;

			if (rc < 0 || is_loading(type, text)) {
				errno = rc < 0 ? EPROTO : EAGAIN;
				return -1;
			}
			at += used;
			got++;
			if (counter) {
				unsigned i = got - 1;

				if (c->count_acked[i] &&
				    !holds(type, text, c->count_acked[i], c->count_sent[i])) {
					uint64_t v = strtoull(text, NULL, 10);

					*lost += v < c->count_acked[i] ? c->count_acked[i] - v : 1;
					printf("lost: counter %u is %s, acknowledged %llu\n", i,
					       text, (unsigned long long)c->count_acked[i]);
				}
			} else if (c->ring_acked[k] &&
				   !holds(type, text, c->ring_acked[k] - 1, c->ring_sent[k] - 1)) {
				if ((*lost)++ < SHOWN)
					printf("lost: key %u is %s, acknowledged %llu at %.3f s, the longest gap began at %.3f s\n",
					       k, type == '0' ? "not there" : text,
					       (unsigned long long)(c->ring_acked[k] - 1),
					       (double)(c->ring_time[k] - c->start) / 1e9,
					       (double)(c->gap_at - c->start) / 1e9);
			}
		}
		c->in_len -= at;
		memmove(c->in, c->in + at, c->in_len);
	}
	return 0;
}

/* Over a connection of its own; a redis that loads its data, or is just dying, is asked again. */
static int read_back(struct checker *c, uint64_t *lost)
{
	const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
	int64_t end = now() + (int64_t)(c->opt.connect * 1e9);
	int rc;

	for (;;) {
		c->fd = dial(&c->opt);
		if (c->fd < 0)
			return -1;
		rc = verify(c, lost);
		if (!rc || now() > end)
			return rc;
		close(c->fd);
		nanosleep(&pause, NULL);
	}
}

static void usage(void)
{
	fprintf(stderr,
		"usage: redis_checker [--host 10.77.0.50] [--port 6379] [--rate PER_S (0: as fast as it goes)] [--window 32]\n"
		"  [--seconds N (0: until SIGINT)] [--ring KEYS (100000)] [--prefix TEXT] [--stall SECONDS (120)]\n"
		"  [--connect SECONDS (10)] [--log FILE: kind number sent_ns acked_ns] [--live]\n");
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"host", 1, NULL, 'h'},	   {"port", 1, NULL, 'p'},    {"rate", 1, NULL, 'r'},
		{"window", 1, NULL, 'w'},  {"seconds", 1, NULL, 't'}, {"ring", 1, NULL, 'k'},
		{"prefix", 1, NULL, 'x'},  {"stall", 1, NULL, 's'},   {"log", 1, NULL, 'o'},
		{"connect", 1, NULL, 'c'}, {"live", 0, NULL, 'l'},    {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'h':
			o->host = optarg;
			break;
		case 'p':
			o->port = optarg;
			break;
		case 'r':
			o->rate = atof(optarg);
			break;
		case 'w':
			o->window = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			o->seconds = atof(optarg);
			break;
		case 'k':
			o->ring = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'x':
			o->prefix = optarg;
			break;
		case 's':
			o->stall = atof(optarg);
			break;
		case 'c':
			o->connect = atof(optarg);
			break;
		case 'o':
			o->log = optarg;
			break;
		case 'l':
			o->live = true;
			break;
		default:
			return -1;
		}
	}
	/* The ring has to be larger than the window, else a key could be written twice in one flight. */
	if (optind < argc || !o->window || o->window > MAX_WINDOW || o->ring <= o->window ||
	    strlen(o->prefix) > 64)
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	static struct checker c = {
		.opt = {"10.77.0.50", "6379", "", NULL, 0, 0, 120, 10, 32, 100000, false},
	};
	struct sigaction sa = {.sa_handler = on_signal};
	unsigned reconnects = 0;
	uint64_t lost = 0;
	double seconds;
	int rc;

	if (parse(&c.opt, argc, argv)) {
		usage();
		return 2;
	}
	c.ring_sent = calloc(c.opt.ring, sizeof(*c.ring_sent));
	c.ring_acked = calloc(c.opt.ring, sizeof(*c.ring_acked));
	c.ring_time = calloc(c.opt.ring, sizeof(*c.ring_time));
	if (!c.ring_sent || !c.ring_acked || !c.ring_time)
		return 2;
	if (c.opt.log && !(c.log = fopen(c.opt.log, "w"))) {
		perror(c.opt.log);
		return 2;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	c.fd = dial(&c.opt);
	if (c.fd < 0)
		return 2;

	rc = work(&c);
	seconds = (double)(now() - c.start) / 1e9;
	if (!rc)
		rc = verify(&c, &lost);
	if (rc) {
		printf("redis_checker: connection: %s\n", strerror(errno));
		if (c.in_flight && now() - max64(c.last_answer, c.flight[c.first].sent) > c.gap)
			c.gap = now() - max64(c.last_answer, c.flight[c.first].sent);
		close(c.fd);
		ended = 0;
		if (read_back(&c, &lost))
			lost = c.acked; /* nothing could be read back */
		reconnects += c.fd >= 0;
		rc = 3;
	}
	if (!rc && (lost || c.wrong))
		rc = 1;
	printf("acked=%llu lost=%llu gap_ms=%lld reconnects=%u p50_us=%llu p99_us=%llu max_us=%lld rate=%.0f wrong=%llu\n",
	       (unsigned long long)c.acked, (unsigned long long)lost, (long long)c.gap / 1000000,
	       reconnects, (unsigned long long)percentile(&c, 0.50),
	       (unsigned long long)percentile(&c, 0.99), (long long)c.worst / 1000,
	       seconds > 0 ? (double)c.acked / seconds : 0, (unsigned long long)c.wrong);
	if (c.log)
		fclose(c.log);
	free(c.ring_sent);
	free(c.ring_acked);
	free(c.ring_time);
	return rc;
}
