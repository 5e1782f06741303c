/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * May a guest that was built on this host's CPU run on the other's? Everything that it was told it has must be there: a
 * missing instruction kills it at some later moment, and nobody would know why. Pure.
 */
#include <stdio.h>
#include <string.h>

#include "lib/json_in.h"
#include "tools/doctor_judge.h"

/*
 * In each word the bits that count. Those left out are not promises to the guest: they follow from how it runs (OSXSAVE,
 * OSPKE, APIC, the hypervisor's own bit) or from its topology (HTT, CMP_LEGACY). AMD repeats leaf 1's features in
 * 80000001.edx; Xen does so for a domain only, not in what it says of the host.
 */
#define REPEATED_OF_1_EDX UINT32_C(0x0183f3ff)

static const struct {
	const char *word;
	uint32_t ignore;
} words[] = {
	{"1.ecx", UINT32_C(1) << 27 | UINT32_C(1) << 31},
	{"1.edx", UINT32_C(1) << 28 | UINT32_C(1) << 9},
	{"7.ebx", 0},
	{"7.ecx", UINT32_C(1) << 4},
	{"7.edx", 0},
	{"7:1.eax", 0},
	{"d:1.eax", 0},
	{"80000001.ecx", UINT32_C(1) << 1},
	{"80000001.edx", REPEATED_OF_1_EDX},
	{"80000007.edx", 0},
	{"80000008.ebx", 0},
	{"80000021.eax", 0},
};

/* Those that people know by name. */
static const struct {
	const char *word;
	unsigned int bit;
	const char *name;
} names[] = {
	{"1.ecx", 0, "sse3"},		{"1.ecx", 1, "pclmulqdq"},
	{"1.ecx", 9, "ssse3"},		{"1.ecx", 12, "fma"},
	{"1.ecx", 13, "cx16"},		{"1.ecx", 17, "pcid"},
	{"1.ecx", 19, "sse4_1"},	{"1.ecx", 20, "sse4_2"},
	{"1.ecx", 22, "movbe"},		{"1.ecx", 23, "popcnt"},
	{"1.ecx", 24, "tsc_deadline"},	{"1.ecx", 25, "aes"},
	{"1.ecx", 26, "xsave"},		{"1.ecx", 28, "avx"},
	{"1.ecx", 29, "f16c"},		{"1.ecx", 30, "rdrand"},
	{"7.ebx", 3, "bmi1"},		{"7.ebx", 5, "avx2"},
	{"7.ebx", 8, "bmi2"},		{"7.ebx", 9, "erms"},
	{"7.ebx", 10, "invpcid"},	{"7.ebx", 16, "avx512f"},
	{"7.ebx", 17, "avx512dq"},	{"7.ebx", 18, "rdseed"},
	{"7.ebx", 19, "adx"},		{"7.ebx", 20, "smap"},
	{"7.ebx", 23, "clflushopt"},	{"7.ebx", 24, "clwb"},
	{"7.ebx", 28, "avx512cd"},	{"7.ebx", 29, "sha_ni"},
	{"7.ebx", 30, "avx512bw"},	{"7.ebx", 31, "avx512vl"},
	{"7.ecx", 2, "umip"},		{"7.ecx", 3, "pku"},
	{"7.ecx", 8, "gfni"},		{"7.ecx", 9, "vaes"},
	{"7.ecx", 22, "rdpid"},		{"7.edx", 10, "md_clear"},
	{"7.edx", 26, "ibrs"},		{"7.edx", 27, "stibp"},
	{"7.edx", 28, "l1d_flush"},	{"7.edx", 31, "ssbd"},
	{"d:1.eax", 0, "xsaveopt"},	{"d:1.eax", 1, "xsavec"},
	{"d:1.eax", 3, "xsaves"},	{"80000001.edx", 26, "1gb_pages"},
	{"80000001.edx", 27, "rdtscp"}, {"80000007.edx", 8, "constant_tsc"},
};

static const char *name_of(const char *word, unsigned int bit, char buf[32])
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].bit == bit && !strcmp(names[i].word, word))
			return names[i].name;
	}
	snprintf(buf, 32, "%s:%u", word, bit);
	return buf;
}

/* The member's name has a dot, which a path may not have. */
static uint32_t word_at(const struct json_in *features, const char *word)
{
	const char *key;

	for (size_t i = 0; (key = json_in_key(features, NULL, i)); i++) {
		if (!strcmp(key, word))
			return (uint32_t)json_in_u64(json_in_value(features, NULL, i), NULL, 0);
	}
	return 0;
}

/* Names of what is lacking, cut to size; how many there are. */
static unsigned int lacking(const struct json_in *has, const struct json_in *can, char *out,
			    size_t size)
{
	unsigned int n = 0;
	size_t used = 0;
	char buf[32];

	*out = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		uint32_t bits = word_at(has, words[i].word) & ~word_at(can, words[i].word) &
				~words[i].ignore;

		for (unsigned int b = 0; b < 32; b++) {
			if (!(bits >> b & 1))
				continue;
			if (used < size)
				used += (size_t)snprintf(out + used, size - used, "%s%s",
							 n ? " " : "",
							 name_of(words[i].word, b, buf));
			n++;
		}
	}
	return n;
}

void doctor_cpu(const struct doctor_case *c, struct doctor_report *r)
{
	/* What the guest was told counts; without one, what a guest could be told here. */
	bool of_vm = json_in_has(c->here, "vm.cpu");
	const struct json_in *has = json_in_at(c->here, of_vm ? "vm.cpu" : "xen.cpu");
	const struct json_in *can = json_in_at(c->there, "xen.cpu");
	const char *ours = json_in_text(json_in_at(c->here, "xen.cpu"), "vendor", "?");
	const char *theirs = json_in_text(can, "vendor", "?");
	struct doctor_line *l;
	char names_text[160];
	unsigned int n;

	if (!has || !can) {
		l = doctor_add(r, DOCTOR_WARN, "cpu");
		doctor_found(l, "the features of %s CPU are not known",
			     !can ? "the peer's" : "this");
		doctor_todo(l, "make sure that both hosts have the same CPU");
		return;
	}
	if (strcmp(ours, theirs) != 0) {
		l = doctor_add(r, DOCTOR_ERROR, "cpu");
		doctor_found(l, "a CPU of %s here, of %s at %s", ours, theirs, c->peer);
		doctor_todo(l,
			    "a running guest cannot change the vendor: use hosts with like CPUs");
		return;
	}
	n = lacking(json_in_at(has, "features"), json_in_at(can, "features"), names_text,
		    sizeof(names_text));
	if (!n) {
		doctor_found(doctor_add(r, DOCTOR_OK, "cpu"), "%s has all that %s has", c->peer,
			     of_vm ? "the guest" : "a guest here");
		return;
	}
	l = doctor_add(r, of_vm ? DOCTOR_ERROR : DOCTOR_WARN, "cpu");
	doctor_found(l, "%s lacks %u features that %s has: %s", c->peer, n,
		     of_vm ? "the guest" : "a guest here by default", names_text);
	doctor_todo(l,
		    "start the guest without them (cpuid= in its configuration), or use hosts with "
		    "like CPUs");
}
