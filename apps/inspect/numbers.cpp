#include <cmath>
#include <cstdio>

#include "apps/cli.h"
#include "apps/inspect/html.h"

namespace vitrine::apps {
namespace {

std::string scaled(double x, const char* unit) { return significant(x) + " " + unit; }

}  // namespace

std::string time_text(double us) {
  if (us < 1e3) return scaled(us, "µs");
  return us < 1e6 ? scaled(us / 1e3, "ms") : scaled(us / 1e6, "s");
}

std::string bytes_text(int64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  const double x = double(bytes);
  return x < 1e6 ? scaled(x / 1e3, "kB") : x < 1e9 ? scaled(x / 1e6, "MB") : scaled(x / 1e9, "GB");
}

std::string number_text(double x) {
  char text[32];
  snprintf(text, sizeof text, "%.3g", x);
  return text;
}

std::string percent_text(double share) {
  if (!std::isfinite(share)) return "-";
  return share > 0 && share < 1e-4 ? "&lt; 0.01 %" : significant(100 * share) + " %";
}

}  // namespace vitrine::apps
