#include "apps/classifier/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <iostream>

#include "apps/cli.h"

namespace vitrine::apps {
namespace {
constexpr double kRedraw = 0.1, kPlainLine = 10;  // seconds between two updates
constexpr int64_t kWidth = 24;
}  // namespace

std::string duration_text(double seconds) {
  const auto s = int64_t(std::llround(seconds));
  const auto two = [](int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + two(s % 60) + " s";
  return std::to_string(s / 3600) + " h " + two(s % 3600 / 60) + " min";
}

std::string progress_text(const ProgressLine& line, bool bar) {
  std::string text = line.title + "  ";
  if (bar) {
    const int64_t filled = line.total ? line.done * kWidth / line.total : kWidth;
    text += "[" + std::string(size_t(filled), '#') + std::string(size_t(kWidth - filled), '.') + "]  ";
  }
  text += format("{}/{} {}  {} {}/s  {} left", line.done, line.total, line.unit, significant(line.rate), line.unit,
                 line.rate > 0 ? duration_text(double(line.total - line.done) / line.rate) : "?");
  return line.note.empty() ? text : text + "  " + line.note;
}

Progress::Progress(std::string title, std::string unit, int64_t total, int64_t done)
    : line_{.title = std::move(title), .unit = std::move(unit), .done = done, .total = total},
      first_(done),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      shown_(start_) {}

double Progress::rate() const {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  return seconds > 0 ? double(line_.done - first_) / seconds : 0;
}

void Progress::update(int64_t done, const std::string& note) {
  line_.done = done;
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - shown_).count();
  if (since < (terminal_ ? kRedraw : kPlainLine)) return;
  shown_ = now;
  line_.rate = rate(), line_.note = note;
  std::cerr << (terminal_ ? "\r\033[K" : "") << progress_text(line_, terminal_) << (terminal_ ? "" : "\n")
            << std::flush;
  drawn_ = terminal_;
}

void Progress::clear() {
  if (drawn_) std::cerr << "\r\033[K" << std::flush;
  drawn_ = false;
}

}  // namespace vitrine::apps
