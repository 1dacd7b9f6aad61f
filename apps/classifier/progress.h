#pragma once
#include <chrono>
#include <string>

namespace vitrine::apps {

/// Progress of long work on stderr: a bar that is redrawn on a terminal, a plain line now and then elsewhere.
class Progress {
 public:
  /// @param total  units of work ("images"), of which `done` are behind us already
  Progress(std::string title, std::string unit, int64_t total, int64_t done = 0);
  /// Shows `done` of `total`, the rate, the time left and `note`, unless it did so a moment ago.
  void update(int64_t done, const std::string& note = {});
  /// Clears the bar, so that other output can follow.
  void clear();
  /// Units per second since the start.
  double rate() const;

 private:
  using Clock = std::chrono::steady_clock;
  std::string title_, unit_;
  int64_t total_, first_, done_;
  bool terminal_, drawn_ = false;
  Clock::time_point start_, shown_;
};

/// "3 s", "4 min 05 s", "1 h 20 min".
std::string duration_text(double seconds);

}  // namespace vitrine::apps
