#include "core/error.h"

#include <cstdio>

namespace vitrine {

std::string format_list(std::string_view text, std::initializer_list<std::string> arguments) {
  std::string out;
  auto next = arguments.begin();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "{}") == 0 && next != arguments.end()) {
      out += *next++;
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string to_string(double x) {
  char buffer[32];
  snprintf(buffer, sizeof buffer, "%g", x);
  return buffer;
}

}  // namespace vitrine
