#include "data/datasets/byte_reader.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "core/error.h"

namespace vitrine::data {

/// The state of a gzip stream: members, each with a checksum, one after the other.
struct ByteReader::Stream {
  static constexpr size_t kBuffer = size_t(1) << 18;
  z_stream z = {};
  std::vector<uint8_t> buffer = std::vector<uint8_t>(kBuffer);
  bool inside = true;  // a member is begun and not ended
  bool first = true;   // and it is the first

  explicit Stream(const std::string& file) {
    constexpr int kGzip = 16;  // added to the window bits: expect gzip's header and trailer
    check<IoError>(inflateInit2(&z, MAX_WBITS + kGzip) == Z_OK, "{}: no memory to decompress it", file);
  }
  ~Stream() { inflateEnd(&z); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};

ByteReader::ByteReader(const std::string& file) : file_(file), handle_(nullptr, &std::fclose) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  check<IoError>(std::filesystem::exists(status), "{}: {}", file,
                 error == std::errc::no_such_file_or_directory ? "no such file" : error.message());
  check<IoError>(std::filesystem::is_regular_file(status), "{}: not a regular file", file);
  file_bytes_ = std::filesystem::file_size(file, error);
  handle_.reset(std::fopen(file.c_str(), "rb"));
  check<IoError>(handle_ != nullptr && !error, "{}: cannot be opened: {}", file, std::strerror(errno));
  uint8_t magic[2] = {};
  const bool gzip = read_file(magic, 2) == 2 && magic[0] == 0x1f && magic[1] == 0x8b;
  std::rewind(handle_.get());
  if (gzip) stream_ = std::make_unique<Stream>(file);
}

ByteReader::~ByteReader() = default;

uint64_t ByteReader::most_bytes() const {
  constexpr uint64_t kDeflateLimit = 1032;
  return compressed() ? file_bytes_ * kDeflateLimit : file_bytes_;
}

size_t ByteReader::read_file(uint8_t* out, size_t bytes) {
  const size_t got = std::fread(out, 1, bytes, handle_.get());
  check<IoError>(got == bytes || !std::ferror(handle_.get()), "{}: cannot be read: {}", file_, std::strerror(errno));
  return got;
}

size_t ByteReader::inflate_some(uint8_t* out, size_t bytes) {
  Stream& s = *stream_;
  constexpr size_t kMost = size_t(1) << 30;  // zlib counts in unsigned int
  const size_t wanted = std::min(bytes, kMost);
  s.z.next_out = out, s.z.avail_out = uInt(wanted);
  while (s.z.avail_out > 0) {
    if (s.z.avail_in == 0) {
      s.z.next_in = s.buffer.data(), s.z.avail_in = uInt(read_file(s.buffer.data(), Stream::kBuffer));
      if (s.z.avail_in == 0) {
        check<IoError>(!s.inside, "{}: truncated: its gzip data has no end", file_);
        break;
      }
    }
    if (!s.inside) {
      inflateReset(&s.z);
      s.inside = true, s.first = false;
    }
    const int result = inflate(&s.z, Z_NO_FLUSH);
    check<IoError>(result == Z_OK || result == Z_STREAM_END, "{}: {}: {}", file_,
                   s.first ? "damaged gzip data" : "damaged gzip data, or bytes after its end",
                   s.z.msg ? s.z.msg : zError(result));
    if (result == Z_STREAM_END) s.inside = false;
  }
  return wanted - s.z.avail_out;
}

size_t ByteReader::read(uint8_t* out, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    const size_t got = compressed() ? inflate_some(out + done, bytes - done) : read_file(out + done, bytes - done);
    if (got == 0) break;
    done += got;
  }
  return done;
}

bool ByteReader::at_end() {
  uint8_t more = 0;
  return read(&more, 1) == 0;
}

}  // namespace vitrine::data
