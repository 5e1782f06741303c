// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ymmhold: keep known patterns in the sixteen ymm registers and look whether they stay.
 *
 *   ymmhold [SECONDS (10)] [SPINS_PER_ROUND (200000)]
 *
 * A round loads the registers, spins without touching them, stores them and compares every lane. The last line:
 *   ymmhold rounds=N corrupt=N low=N high=N
 * counts rounds with any damage, and those with damage in the low and in the high 128 bits. Exit code 0: none, 1: some, 77: no AVX.
 */
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	REGS = 16,
	LANES = 4
};

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static void no_avx(const char *why)
{
	printf("ymmhold: AVX is not available here: %s\n", why);
	exit(77);
}

static void on_sigill(int sig)
{
	static const char text[] =
		"ymmhold: AVX instruction refused though the CPU's flags offer it (has Xen been told XCR0?)\n";

	(void)sig;
	/* Nothing is buffered: what came before ended with a newline, and stdout goes by lines. */
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	_exit(77);
}

static void look_for_avx(void)
{
	unsigned a, b, c, d, lo, hi;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_AVX))
		no_avx("CPUID does not offer it");
	if (!(c & bit_OSXSAVE))
		no_avx("the kernel has not set OSXSAVE");
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	if ((lo & 6) != 6)
		no_avx("XCR0 lacks it");
	printf("ymmhold: xcr0=%#x\n", lo);
}

static void hold(const uint64_t in[REGS][LANES], uint64_t out[REGS][LANES], uint64_t spins)
{
	__asm__ volatile("vmovdqu 0x000(%[in]), %%ymm0\n\t"
			 "vmovdqu 0x020(%[in]), %%ymm1\n\t"
			 "vmovdqu 0x040(%[in]), %%ymm2\n\t"
			 "vmovdqu 0x060(%[in]), %%ymm3\n\t"
			 "vmovdqu 0x080(%[in]), %%ymm4\n\t"
			 "vmovdqu 0x0a0(%[in]), %%ymm5\n\t"
			 "vmovdqu 0x0c0(%[in]), %%ymm6\n\t"
			 "vmovdqu 0x0e0(%[in]), %%ymm7\n\t"
			 "vmovdqu 0x100(%[in]), %%ymm8\n\t"
			 "vmovdqu 0x120(%[in]), %%ymm9\n\t"
			 "vmovdqu 0x140(%[in]), %%ymm10\n\t"
			 "vmovdqu 0x160(%[in]), %%ymm11\n\t"
			 "vmovdqu 0x180(%[in]), %%ymm12\n\t"
			 "vmovdqu 0x1a0(%[in]), %%ymm13\n\t"
			 "vmovdqu 0x1c0(%[in]), %%ymm14\n\t"
			 "vmovdqu 0x1e0(%[in]), %%ymm15\n\t"
			 "1: dec %[spins]\n\t"
			 "jnz 1b\n\t"
			 "vmovdqu %%ymm0, 0x000(%[out])\n\t"
			 "vmovdqu %%ymm1, 0x020(%[out])\n\t"
			 "vmovdqu %%ymm2, 0x040(%[out])\n\t"
			 "vmovdqu %%ymm3, 0x060(%[out])\n\t"
			 "vmovdqu %%ymm4, 0x080(%[out])\n\t"
			 "vmovdqu %%ymm5, 0x0a0(%[out])\n\t"
			 "vmovdqu %%ymm6, 0x0c0(%[out])\n\t"
			 "vmovdqu %%ymm7, 0x0e0(%[out])\n\t"
			 "vmovdqu %%ymm8, 0x100(%[out])\n\t"
			 "vmovdqu %%ymm9, 0x120(%[out])\n\t"
			 "vmovdqu %%ymm10, 0x140(%[out])\n\t"
			 "vmovdqu %%ymm11, 0x160(%[out])\n\t"
			 "vmovdqu %%ymm12, 0x180(%[out])\n\t"
			 "vmovdqu %%ymm13, 0x1a0(%[out])\n\t"
			 "vmovdqu %%ymm14, 0x1c0(%[out])\n\t"
			 "vmovdqu %%ymm15, 0x1e0(%[out])\n\t"
			 "vzeroupper"
			 : [spins] "+r"(spins)
			 : [in] "r"(in), [out] "r"(out)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 10;
	uint64_t spins = argc > 2 ? strtoull(argv[2], NULL, 10) : 200000;
	unsigned long rounds = 0, corrupt = 0, low = 0, high = 0;
	static uint64_t in[REGS][LANES], out[REGS][LANES];
	struct timespec t0, t;

	setvbuf(stdout, NULL, _IOLBF, 0);
	look_for_avx();
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGILL, on_sigill);
	if (!spins)
		spins = 1;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	do {
		int r, l, bad_low = 0, bad_high = 0;

		for (r = 0; r < REGS; r++)
			for (l = 0; l < LANES; l++)
				in[r][l] = (rounds + 1) * 0x9e3779b97f4a7c15u ^
					   ((uint64_t)r << 56) ^ ((uint64_t)l << 48) ^ 0x5a5a5a5au;
		memset(out, 0, sizeof(out));
		hold(in, out, spins);
		for (r = 0; r < REGS; r++) {
			for (l = 0; l < LANES; l++) {
				if (in[r][l] == out[r][l])
					continue;
				if (l < LANES / 2)
					bad_low = 1;
				else
					bad_high = 1;
			}
		}
		rounds++;
		corrupt += bad_low || bad_high;
		low += bad_low;
		high += bad_high;
		clock_gettime(CLOCK_MONOTONIC, &t);
	} while (!ended &&
		 (double)(t.tv_sec - t0.tv_sec) + (double)(t.tv_nsec - t0.tv_nsec) / 1e9 < seconds);
	printf("ymmhold rounds=%lu corrupt=%lu low=%lu high=%lu\n", rounds, corrupt, low, high);
	return corrupt ? 1 : 0;
}
