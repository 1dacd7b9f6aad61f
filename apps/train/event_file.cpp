#include "apps/train/event_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "core/files.h"

namespace vitrine::apps {
namespace {

constexpr const char* kPrefix = "events.out.tfevents.";

/// x as `bytes` bytes, little endian.
std::string little_endian(uint64_t x, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += char(x >> (8 * i));
  return out;
}

uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xA282EAD8u; }

// Protobuf: each field is a varint of (number << 3 | wire type) and its value. Negative varints do not occur.
enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string varint(uint64_t x) {
  std::string out;
  for (; x >= 0x80; x >>= 7) out += char(x | 0x80);
  return out + char(x);
}
std::string tag(int field, Wire wire) { return varint(uint64_t(field << 3 | wire)); }
std::string varint_field(int field, uint64_t x) { return tag(field, kVarint) + varint(x); }
std::string double_field(int field, double x) {
  return tag(field, kFixed64) + little_endian(std::bit_cast<uint64_t>(x), 8);
}
std::string float_field(int field, float x) {
  return tag(field, kFixed32) + little_endian(std::bit_cast<uint32_t>(x), 4);
}
std::string bytes_field(int field, const std::string& x) { return tag(field, kBytes) + varint(x.size()) + x; }

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

/// A name later than those of the event files in `folder`: theirs are read in the order of names, whatever the clock
/// says.
std::string next_name(const std::string& folder, int64_t seconds) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    const int64_t other = std::strtoll(name.c_str() + strlen(kPrefix), nullptr, 10);
    if (other < INT64_MAX) seconds = std::max(seconds, other + 1);
  }
  return format("{}/{}{}.vitrine", folder, kPrefix, seconds);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int bit = 0; bit < 8; ++bit) t[i] = t[i] >> 1 ^ (t[i] & 1 ? 0x82F63B78u : 0u);
    }
    return t;
  }();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ uint8_t(c)) & 0xFF];
  return ~crc;
}

std::string tfrecord(std::string_view bytes) {
  const std::string length = little_endian(bytes.size(), 8);
  return length + little_endian(masked(crc32c(length)), 4) + std::string(bytes) +
         little_endian(masked(crc32c(bytes)), 4);
}

// Event: wall_time 1, step 2, file_version 3, summary 5, session_log 7.
std::string version_event(double wall_time) { return double_field(1, wall_time) + bytes_field(3, "brain.Event:2"); }

std::string start_event(double wall_time, int64_t step) {
  const std::string session_log = varint_field(1, 1);  // status: START
  return double_field(1, wall_time) + varint_field(2, uint64_t(step)) + bytes_field(7, session_log);
}

std::string scalars_event(double wall_time, int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [name, x] : scalars)  // Summary: value 1; Value: tag 1, simple_value 2
    summary += bytes_field(1, bytes_field(1, name) + float_field(2, float(x)));
  return double_field(1, wall_time) + varint_field(2, uint64_t(step)) + bytes_field(5, summary);
}

void EventFile::add(int64_t step, const Scalars& scalars) {
  if (path_.empty()) {
    path_ = next_name(folder_, int64_t(now()));
    out_.open(path_, std::ios::binary);
    out_ << tfrecord(version_event(now())) << tfrecord(start_event(now(), step));
  }
  out_ << tfrecord(scalars_event(now(), step, scalars)) << std::flush;
  check<WriteError>(out_.good(), "cannot write {}: {}", path_, std::strerror(errno));
}

}  // namespace vitrine::apps
