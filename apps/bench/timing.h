#pragma once
#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

namespace vitrine::apps {

inline double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The middle value, the mean of the two middle ones for an even count; 0 of nothing.
inline double median(std::vector<double> v) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return (v[v.size() / 2] + v[(v.size() - 1) / 2]) / 2;
}

/// Milliseconds of one call of `work`: the median over as many calls as fit in `budget_ms`, at least 3, or 1 if a call
/// takes longer than the whole budget. `finish` waits for queued work; where there is some (`queued`), calls are timed
/// as one batch, since waiting after each would be timed too. The peer's script does the same.
inline double time_calls(const std::function<void()>& work, const std::function<void()>& finish, bool queued,
                         double budget_ms) {
  const double start = now_ms();
  work(), finish();
  const double once = now_ms() - start;
  if (once > budget_ms) return once;
  const int calls = std::clamp(int(budget_ms / std::max(once, 1e-4)), 3, 20000);
  if (queued) {
    const double begin = now_ms();
    for (int i = 0; i < calls; ++i) work();
    finish();
    return (now_ms() - begin) / calls;
  }
  std::vector<double> times;
  for (const double begin = now_ms();
       int(times.size()) < calls && (times.size() < 3 || now_ms() - begin < budget_ms);) {
    const double before = now_ms();
    work();
    times.push_back(now_ms() - before);
  }
  return median(std::move(times));
}

}  // namespace vitrine::apps
