#pragma once
#include <chrono>
#include <string>

namespace vitrine::apps {

/// What a line of progress says.
struct ProgressLine {
  std::string title, unit;
  int64_t done = 0, total = 0;
  double rate = 0;  ///< units per second; 0: not known yet
  std::string note = {};
};
/// "eval  512/2000 images  128 images/s  12 s left  NOTE"; `bar` puts "[######..................]" before the numbers.
std::string progress_text(const ProgressLine& line, bool bar);

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
  ProgressLine line_;
  int64_t first_;
  bool terminal_, drawn_ = false;
  Clock::time_point start_, shown_;
};

/// "3 s", "4 min 05 s", "1 h 20 min".
std::string duration_text(double seconds);

}  // namespace vitrine::apps
