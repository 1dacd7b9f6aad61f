#include "apps/classifier/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <iostream>

#include "apps/cli.h"

namespace vitrine::apps {
namespace {
constexpr double kRedraw = 0.1, kPlainLine = 10;  // seconds between two updates
constexpr int kWidth = 24;
}  // namespace

std::string duration_text(double seconds) {
  const auto s = int64_t(std::llround(seconds));
  const auto two = [](int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + two(s % 60) + " s";
  return std::to_string(s / 3600) + " h " + two(s % 3600 / 60) + " min";
}

Progress::Progress(std::string title, std::string unit, int64_t total, int64_t done)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      first_(done),
      done_(done),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      shown_(start_) {}

double Progress::rate() const {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  return seconds > 0 ? double(done_ - first_) / seconds : 0;
}

void Progress::update(int64_t done, const std::string& note) {
  done_ = done;
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - shown_).count();
  if (since < (terminal_ ? kRedraw : kPlainLine)) return;
  shown_ = now;
  const double speed = rate(), part = total_ ? double(done) / double(total_) : 1;
  std::string text = title_ + "  ";
  if (terminal_) {
    const int filled = int(part * kWidth);
    text += "[" + std::string(size_t(filled), '#') + std::string(size_t(kWidth - filled), '.') + "]  ";
  }
  text += format("{}/{} {}  {} {}/s  {} left", done, total_, unit_, significant(speed), unit_,
                 speed > 0 ? duration_text(double(total_ - done) / speed) : "?");
  if (!note.empty()) text += "  " + note;
  std::cerr << (terminal_ ? "\r\033[K" : "") << text << (terminal_ ? "" : "\n") << std::flush;
  drawn_ = terminal_;
}

void Progress::clear() {
  if (drawn_) std::cerr << "\r\033[K" << std::flush;
  drawn_ = false;
}

}  // namespace vitrine::apps
