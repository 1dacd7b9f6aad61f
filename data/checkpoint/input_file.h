#pragma once
#include <cstdint>
#include <fstream>
#include <string>

#include "core/error.h"

namespace vitrine::data {

/// A text from a file as it may appear in a message: on one line and not too long.
std::string in_quotes(const std::string& text);

/// A file that is not trusted, read at any place. Its errors name it, and it bounds the memory that its content can ask
/// for: sizes in a file are claims, and a view that repeats one number, or compressed zeros, can claim anything.
class InputFile {
 public:
  /// @throws IoError if `path` is not a regular file that can be read
  explicit InputFile(const std::string& path);

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  /// Reads exactly `bytes` bytes from byte `at` on. @throws IoError if the file ends before
  void read(uint64_t at, void* out, uint64_t bytes) const;
  /// Call before memory is made for what the file holds. @throws IoError if all claims together pass 16 times its size
  /// and 64 MiB, which weights that share or repeat their storage stay far below
  void claim(uint64_t bytes) const;

  /// Throws IoError with the file's name in front.
  template <class... A>
  void require(bool condition, std::string_view text, const A&... arguments) const {
    if (!condition) [[unlikely]]
      throw IoError(path_ + ": " + format(text, arguments...));
  }

 private:
  std::string path_;
  uint64_t size_ = 0;
  mutable std::ifstream in_;
  mutable uint64_t next_ = 0, claimed_ = 0;  // next_: where in_ stands
};

/// Bytes in order, of a known number: a part of a file, or an entry of an archive as it unpacks.
class ByteSource {
 public:
  ByteSource(const InputFile& file, std::string name, uint64_t bytes)
      : file_(file), name_(std::move(name)), bytes_(bytes) {}
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  const InputFile& file() const { return file_; }
  const std::string& name() const { return name_; }  ///< in messages; empty for the file itself
  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_ - position_; }
  /// @throws IoError if fewer than `bytes` remain, or what is read is damaged
  void read(void* out, uint64_t bytes);
  /// Reads what remains, so that checksums over the whole are checked.
  void skip_rest();

  /// Throws IoError that names the file and the source.
  template <class... A>
  void require(bool condition, std::string_view text, const A&... arguments) const {
    if (!condition) [[unlikely]]
      file_.require(false, "{}{}{}", name_, name_.empty() ? "" : ": ", format(text, arguments...));
  }

 private:
  virtual void fill(uint64_t at, void* out, uint64_t bytes) = 0;

  const InputFile& file_;
  std::string name_;
  uint64_t bytes_, position_ = 0;
};

/// Bytes [begin, end) of a file.
class FileRange final : public ByteSource {
 public:
  FileRange(const InputFile& file, uint64_t begin, uint64_t end, std::string name = {})
      : ByteSource(file, std::move(name), end - begin), begin_(begin) {}

 private:
  void fill(uint64_t at, void* out, uint64_t bytes) override { file().read(begin_ + at, out, bytes); }
  uint64_t begin_;
};

/// The little-endian number at `bytes`.
template <class T>
T little_endian(const unsigned char* bytes) {
  uint64_t x = 0;
  for (size_t i = 0; i < sizeof(T); ++i) x |= uint64_t(bytes[i]) << 8 * i;
  return T(x);
}

}  // namespace vitrine::data
