#pragma once
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace vitrine::data {

/// Reads a file from its beginning to its end; a gzipped one (known by its first bytes, whatever its name) as what it
/// holds. Never holds more than one buffer, so the caller decides how much memory a file can claim.
class ByteReader {
 public:
  /// @throws IoError if `file` is not a regular file that can be read
  explicit ByteReader(const std::string& file);
  ~ByteReader();
  ByteReader(const ByteReader&) = delete;
  ByteReader& operator=(const ByteReader&) = delete;

  const std::string& file() const { return file_; }
  /// The most bytes that it can hold: its size, or 1032 times that, deflate's limit, if it is compressed.
  uint64_t most_bytes() const;
  bool compressed() const { return stream_ != nullptr; }
  /// Reads `bytes` bytes, fewer only at the end; returns how many.
  /// @throws IoError if the file cannot be read, or its compressed data is damaged, truncated or followed by others
  size_t read(uint8_t* out, size_t bytes);
  /// Whether everything was read; checks the checksum of compressed data.
  bool at_end();

 private:
  struct Stream;
  size_t read_file(uint8_t* out, size_t bytes);
  size_t inflate_some(uint8_t* out, size_t bytes);

  std::string file_;
  uint64_t file_bytes_ = 0;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> handle_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace vitrine::data
