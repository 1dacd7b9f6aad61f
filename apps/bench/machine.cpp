#include "apps/bench/machine.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>

#include "apps/bench/timing.h"

namespace vitrine::apps {
namespace {

struct Seconds {
  double busy = 0, own = 0, wall = 0;
};

/// Busy time of all processors and of this process so far.
Seconds elapsed() {
  std::ifstream in("/proc/stat");
  std::string word;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, interrupts = 0, soft = 0, stolen = 0;
  in >> word >> user >> nice >> system >> idle >> waiting >> interrupts >> soft >> stolen;
  rusage own;
  getrusage(RUSAGE_SELF, &own);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; };
  return {(user + nice + system + interrupts + soft + stolen) / double(sysconf(_SC_CLK_TCK)),
          seconds(own.ru_utime) + seconds(own.ru_stime), now_ms() * 1e-3};
}

/// Bytes of a line of /proc/self/status, such as "VmRSS:"; NaN if there is none.
double resident(const std::string& key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) return 1024 * std::stod(line.substr(key.size()));
  return NAN;
}

}  // namespace

std::string machine_text(int threads) {
  std::ifstream in("/proc/cpuinfo");
  std::string line, model = "unknown processor";
  while (std::getline(in, line))
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  std::ostringstream out;
  out << model << ", " << threads << " of " << std::thread::hardware_concurrency() << " threads";
  return out.str();
}

double foreign_load(int ms) {
  const Seconds before = elapsed();
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  const Seconds after = elapsed();
  const double foreign = (after.busy - before.busy) - (after.own - before.own);
  return std::clamp(foreign / (after.wall - before.wall) / std::max(1u, std::thread::hardware_concurrency()), 0., 1.);
}

double wait_for_idle(int seconds) {
  constexpr double kIdle = 0.1;
  double load = 0;
  for (const double end = now_ms() + seconds * 1e3;;) {
    load = foreign_load(seconds > 0 ? 500 : 50);
    if (load < kIdle || now_ms() >= end) return load;
  }
}

double peak_growth(const std::function<void()>& work) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
  // "5" makes the peak begin again from what is resident now.
  if (std::ofstream reset("/proc/self/clear_refs"); !(reset << 5 << std::flush)) return NAN;
  const double before = resident("VmRSS:");
  work();
  return std::max(resident("VmHWM:") - before, 0.);
}

}  // namespace vitrine::apps
