#include "data/checkpoint/input_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

namespace vitrine::data {

std::string in_quotes(const std::string& text) {
  using Json = nlohmann::ordered_json;
  constexpr size_t kShown = 200;
  return Json(text.substr(0, kShown)).dump(-1, ' ', true, Json::error_handler_t::replace) +
         (text.size() > kShown ? "..." : "");
}

InputFile::InputFile(const std::string& path) : path_(path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  require(std::filesystem::exists(status), "{}",
          error == std::errc::no_such_file_or_directory ? "no such file" : error.message());
  require(std::filesystem::is_regular_file(status), "not a regular file");
  size_ = std::filesystem::file_size(path, error);
  in_.open(path, std::ios::binary);
  require(!error && in_.good(), "cannot be opened: {}", std::strerror(errno));
}

void InputFile::read(uint64_t at, void* out, uint64_t bytes) const {
  require(at <= size_ && bytes <= size_ - at, "truncated: {} bytes at byte {} are past its end at {}", bytes, at,
          size_);
  if (bytes == 0) return;
  if (at != next_) in_.seekg(std::streamoff(at));  // which throws away what was read ahead
  next_ = at + bytes;
  in_.read(static_cast<char*>(out), std::streamsize(bytes));
  require(in_.good(), "cannot be read at byte {}", at);
}

void InputFile::claim(uint64_t bytes) const {
  constexpr uint64_t kTimes = 16, kAnyway = uint64_t(64) << 20;
  const uint64_t most = kTimes * size_ + kAnyway;
  require(bytes <= most && claimed_ <= most - bytes,
          "its content asks for {} bytes of memory after {}; a file of {} bytes is given {}", bytes, claimed_, size_,
          most);
  claimed_ += bytes;
}

void ByteSource::read(void* out, uint64_t bytes) {
  require(bytes <= remaining(), "truncated: {} bytes wanted at byte {}, {} are there", bytes, position_, remaining());
  fill(position_, out, bytes);
  position_ += bytes;
}

void ByteSource::skip_rest() {
  std::vector<char> buffer(size_t(std::min<uint64_t>(remaining(), 1 << 16)));
  while (remaining() > 0) read(buffer.data(), std::min<uint64_t>(remaining(), buffer.size()));
}

}  // namespace vitrine::data
