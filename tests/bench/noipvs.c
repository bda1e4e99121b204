/*
 * Lets keepalived's checkers run on a kernel without IPVS: preloaded, it answers the socket
 * options of ipvsadm's old interface (<linux/ip_vs.h>) with success and an empty table, and
 * hands every other option on. For measuring checks only; nothing is balanced. With NOIPVS_LOG
 * the file of that name gets a line for each change of a real server, SECONDS WEIGHT (Unix time;
 * -1: removed).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/ip_vs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { FIRST = 64 + 1024 + 64, INFO = FIRST + 1, LAST = FIRST + 31 };

struct info {
	uint32_t version, size, services;
};

typedef int (*getter)(int, int, int, void *, socklen_t *);
typedef int (*setter)(int, int, int, const void *, socklen_t);

static int is_ipvs(int level, int name)
{
	return level == IPPROTO_IP && name >= FIRST && name <= LAST;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	static const struct info info = { 0x010201, 4096, 0 };

	if (!is_ipvs(level, name))
		return ((getter)dlsym(RTLD_NEXT, "getsockopt"))(fd, level, name, value, size);
	memset(value, 0, *size);
	if (name == INFO && *size >= sizeof info)
		memcpy(value, &info, sizeof info);
	return 0;
}

static void note(int name, const void *value, socklen_t size)
{
	static int log = -1;
	const char *path = getenv("NOIPVS_LOG");
	struct ip_vs_dest_user dest;
	struct timespec now;

	if (!path || size < sizeof(struct ip_vs_service_user) + sizeof dest)
		return;
	if (name != IP_VS_SO_SET_EDITDEST && name != IP_VS_SO_SET_DELDEST)
		return;
	if (log < 0)
		log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	clock_gettime(CLOCK_REALTIME, &now);
	memcpy(&dest, (const char *)value + sizeof(struct ip_vs_service_user), sizeof dest);
	dprintf(log, "%lld.%06ld %d\n", (long long)now.tv_sec, now.tv_nsec / 1000,
		name == IP_VS_SO_SET_DELDEST ? -1 : dest.weight);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	if (!is_ipvs(level, name))
		return ((setter)dlsym(RTLD_NEXT, "setsockopt"))(fd, level, name, value, size);
	note(name, value, size);
	return 0;
}
