#include "core/files.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"

namespace vitrine {

std::string json_text(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') {
      out += '\\', out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      snprintf(code, sizeof code, "\\u%04x", c);
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string json_number(double x) {
  if (!std::isfinite(x)) return "null";
  char buffer[32];
  snprintf(buffer, sizeof buffer, "%.17g", x);
  return buffer;
}

void write_file_atomically(const std::string& file, const std::function<void(std::ostream&)>& write) {
  const std::string temporary = file + "." + std::to_string(getpid()) + ".tmp";
  // Renaming would put a file in the place of a device such as /dev/null.
  check<IoError>(!std::filesystem::exists(file) || std::filesystem::is_regular_file(file),
                 "cannot write {}: it is not a regular file", file);
  std::ofstream out(temporary, std::ios::binary);
  check<IoError>(out.good(), "cannot write {}: {}", file, std::strerror(errno));
  std::error_code ignored;
  try {
    write(out);
    out.close();
    check<IoError>(out.good(), "cannot write {}: {}", file, std::strerror(errno));
    std::filesystem::rename(temporary, file);
  } catch (const std::filesystem::filesystem_error& e) {
    std::filesystem::remove(temporary, ignored);
    throw IoError(format("cannot write {}: {}", file, e.code().message()));
  } catch (...) {
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

}  // namespace vitrine
