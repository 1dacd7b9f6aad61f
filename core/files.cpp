#include "core/files.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace vitrine {
namespace {

constexpr const char* kTemporary = ".tmp";

/// The process that the name FILE.PID.tmp belongs to; 0 for another name.
pid_t writer_of(const std::filesystem::path& file) {
  const std::string number = file.stem().extension();  // ".123"
  pid_t pid = 0;
  if (file.extension() != kTemporary || number.empty()) return 0;
  const char* const end = number.data() + number.size();
  return std::from_chars(number.data() + 1, end, pid).ptr == end ? pid : 0;
}

}  // namespace

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
  const std::string temporary = format("{}.{}{}", file, getpid(), kTemporary);
  // Renaming would put a file in the place of a device such as /dev/null.
  std::error_code ignored;
  check<WriteError>(!std::filesystem::exists(file, ignored) || std::filesystem::is_regular_file(file, ignored),
                    "cannot write {}: it is not a regular file", file);
  std::ofstream out(temporary, std::ios::binary);
  check<WriteError>(out.good(), "cannot write {}: {}", file, std::strerror(errno));
  try {
    write(out);
    out.close();
    check<WriteError>(out.good(), "cannot write {}: {}", file, std::strerror(errno));
    std::filesystem::rename(temporary, file);
  } catch (const std::filesystem::filesystem_error& e) {
    std::filesystem::remove(temporary, ignored);
    throw WriteError(format("cannot write {}: {}", file, e.code().message()));
  } catch (...) {
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

void remove_stale_temporaries(const std::string& folder) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const pid_t writer = writer_of(entry.path());
    if (writer > 0 && kill(writer, 0) != 0 && errno == ESRCH) std::filesystem::remove(entry.path(), ignored);
  }
}

}  // namespace vitrine
