/*
 * What processors do to each other in an operating system, with results that are known: stress THREADS ROUNDS. Prints the name of
 * each part and how often it was wrong. Threads meet by futexes (mutexes, conditions), by memory alone, by pipes and forks.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_THREADS = 16, QUEUE = 8 };
static long threads, rounds, cpus;
static atomic_long wrong;

static void pin(long thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(thread % cpus, &set);
  sched_setaffinity(0, sizeof set, &set);
}

static void together(long count, void *(*work)(void *)) {
  pthread_t all[MAX_THREADS];
  for (long i = 0; i < count; i++)
    if (pthread_create(&all[i], NULL, work, (void *)i)) exit(2);
  for (long i = 0; i < count; i++) pthread_join(all[i], NULL);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied = PTHREAD_COND_INITIALIZER;
static volatile long counter;
static atomic_long locked;

static void *count_under_mutex(void *unused) {
  for (long i = 0; i < rounds; i++) {
    pthread_mutex_lock(&lock);
    counter = counter + 1;
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&locked, 1);
  }
  return unused;
}
static void mutexes(void) {
  counter = locked = 0;
  together(threads, count_under_mutex);
  if (counter != threads * rounds || locked != threads * rounds) wrong++;
}

static long queue[QUEUE], used, sums[MAX_THREADS];
/** The first half puts numbers into the queue, the other half takes them. */
static void *through_queue(void *given) {
  long thread = (long)given, half = threads / 2;
  for (long i = 1; i <= rounds; i++) {
    pthread_mutex_lock(&lock);
    if (thread < half) {
      while (used == QUEUE) pthread_cond_wait(&emptied, &lock);
      queue[used++] = i;
      pthread_cond_signal(&filled);
    } else {
      while (used == 0) pthread_cond_wait(&filled, &lock);
      sums[thread] += queue[--used];
      pthread_cond_signal(&emptied);
    }
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}
static void conditions(void) {
  long sum = 0;
  used = 0;
  for (long i = 0; i < threads; i++) sums[i] = 0;
  together(threads / 2 * 2, through_queue);
  for (long i = 0; i < threads; i++) sum += sums[i];
  if (sum != threads / 2 * (rounds * (rounds + 1) / 2)) wrong++;
}

static void pipes(void) {
  int to[MAX_THREADS][2], from[MAX_THREADS][2];
  for (long child = 0; child < threads; child++) {
    if (pipe(to[child]) || pipe(from[child])) exit(2);
    if (fork() == 0) {
      long number, sum = 0;
      for (long i = 0; i <= child; i++) close(to[i][1]);
      pin(child);
      while (read(to[child][0], &number, sizeof number) == sizeof number) sum += number;
      _exit(write(from[child][1], &sum, sizeof sum) != sizeof sum);
    }
    close(to[child][0]);
    close(from[child][1]);
  }
  for (long i = 1; i <= rounds; i++)
    for (long child = 0; child < threads; child++)
      if (write(to[child][1], &i, sizeof i) != sizeof i) wrong++;
  for (long child = 0; child < threads; child++) close(to[child][1]);
  for (long child = 0; child < threads; child++) {
    long sum = 0;
    int status;
    if (read(from[child][0], &sum, sizeof sum) != sizeof sum || sum != rounds * (rounds + 1) / 2) wrong++;
    close(from[child][0]);
    if (wait(&status) < 0 || status != 0) wrong++;
  }
}

static void *fork_often(void *given) {
  for (long i = 0; i < rounds / 100; i++) {
    int status = 0, told = ((long)given + i) & 0x7f;
    pid_t child = fork();
    if (child == 0) _exit(told);
    if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != told) wrong++;
  }
  return NULL;
}
static void forks(void) { together(threads, fork_often); }

/** A page that comes anew each round: nobody may see the old one when the mapping has changed. */
static long *page;
static atomic_long shown, seen;
static void *remap(void *given) {
  pin((long)given);
  for (long i = 1; i <= rounds / 10; i++) {
    if (given == NULL) {
      if (mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page) exit(2);
      *page = i;
      atomic_store(&shown, i);
      while (atomic_load(&seen) != i) sched_yield();
    } else {
      while (atomic_load(&shown) != i) sched_yield();
      if (*(volatile long *)page != i) wrong++;
      atomic_store(&seen, i);
    }
  }
  return NULL;
}
static void mappings(void) {
  shown = seen = 0;
  page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  together(2, remap);
  munmap(page, 4096);
}

/** Litmus tests of memory order, SDM vol. 3, 9.2.3: plain loads and stores of two lines. */
static struct { _Alignas(64) volatile int value; } x, y;
static volatile int r[4];
static atomic_long arrived, generation;
static long parties;
static void meet(void) {
  long now = atomic_load(&generation);
  if (atomic_fetch_add(&arrived, 1) == parties - 1) {
    atomic_store(&arrived, 0);
    atomic_fetch_add(&generation, 1);
  } else
    for (long spins = 0; atomic_load(&generation) == now; spins++)
      if (spins > 1000) sched_yield();
}
static int kind;
#define BARRIER() __asm__ volatile("" ::: "memory")
static void *litmus(void *given) {
  long me = (long)given;
  pin(me);
  for (long i = 0; i < rounds; i++) {
    if (me == 0) x.value = y.value = 0;
    meet();
    for (long wait = (i * 7 + me * 13) % 23; wait > 0; wait--) BARRIER();
    if (kind == 0) { /* stores, each followed by a fence and a load of the other */
      if (me == 0) x.value = 1; else y.value = 1;
      __asm__ volatile("mfence" ::: "memory");
      r[me] = me == 0 ? y.value : x.value;
    } else if (kind == 1) { /* a message and its flag */
      if (me == 0) { x.value = 1; BARRIER(); y.value = 1; }
      else { r[0] = y.value; BARRIER(); r[1] = x.value; }
    } else if (kind == 2) { /* loads, each followed by a store to the other */
      if (me == 0) { r[0] = x.value; BARRIER(); y.value = 1; }
      else { r[1] = y.value; BARRIER(); x.value = 1; }
    } else { /* two writers, two readers */
      if (me == 0) x.value = 1;
      else if (me == 1) y.value = 1;
      else if (me == 2) { r[0] = x.value; BARRIER(); r[1] = y.value; }
      else { r[2] = y.value; BARRIER(); r[3] = x.value; }
    }
    meet();
    if (me == 0) {
      if (kind == 0 && !r[0] && !r[1]) wrong++;
      if (kind == 1 && r[0] && !r[1]) wrong++;
      if (kind == 2 && r[0] && r[1]) wrong++;
      if (kind == 3 && r[0] && !r[1] && r[2] && !r[3]) wrong++;
    }
    meet();
  }
  return NULL;
}
static void orders(void) {
  for (kind = 0; kind < (cpus >= 4 ? 4 : 3); kind++) {
    parties = kind == 3 ? 4 : 2;
    together(parties, litmus);
  }
}

int main(int count, char **given) {
  static const struct { const char *name; void (*run)(void); } parts[] = {
      {"mutexes", mutexes}, {"conditions", conditions}, {"pipes", pipes},
      {"forks", forks},     {"mappings", mappings},     {"orders", orders},
  };
  if (count != 3) return 2;
  threads = atol(given[1]);
  rounds = atol(given[2]);
  cpus = sysconf(_SC_NPROCESSORS_ONLN);
  if (threads < 2 || threads > MAX_THREADS || rounds < 100) return 2;
  for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
    wrong = 0;
    parts[i].run();
    printf("%s %ld\n", parts[i].name, atomic_load(&wrong));
    fflush(stdout);
  }
  return 0;
}
