#include "data/checkpoint/zip.h"

#include <zlib.h>

#include <algorithm>

namespace vitrine::data {
namespace {

constexpr uint32_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;  // signatures
constexpr uint32_t kDirectoryEntry = 0x02014b50, kLocalHeader = 0x04034b50;
constexpr uint64_t kEndBytes = 22, kEnd64Bytes = 56, kLocatorBytes = 20, kDirectoryBytes = 46, kLocalBytes = 30;
constexpr uint32_t kIn64 = 0xffffffff;  // the value stands in the zip64 field
constexpr uint16_t kIn64Short = 0xffff;

uint16_t u16(const unsigned char* p) { return little_endian<uint16_t>(p); }
uint32_t u32(const unsigned char* p) { return little_endian<uint32_t>(p); }
uint64_t u64(const unsigned char* p) { return little_endian<uint64_t>(p); }

struct Directory {
  uint64_t begin, bytes, count;
  uint64_t end;  ///< where what describes the directory begins
};

/// Finds the record that ends the archive: behind it stand only as many bytes as it says.
Directory find_directory(const InputFile& file) {
  constexpr uint64_t kMostComment = 0xffff;
  const uint64_t tail = std::min(file.size(), kEndBytes + kMostComment);
  std::vector<unsigned char> bytes(static_cast<size_t>(tail));
  file.read(file.size() - tail, bytes.data(), tail);
  uint64_t at = tail;
  const unsigned char* end = nullptr;
  for (uint64_t behind = kEndBytes; behind <= tail && !end; ++behind) {
    at = tail - behind;
    if (u32(&bytes[at]) == kEnd && u16(&bytes[at + 20]) == behind - kEndBytes) end = &bytes[at];
  }
  file.require(end, "a zip archive without a directory at its end: truncated");
  file.require(u16(end + 4) == 0 || u16(end + 4) == kIn64Short, "one part of an archive in several files");
  const uint64_t place = file.size() - tail + at;
  Directory found{u32(end + 16), u32(end + 12), u16(end + 10), place};
  if (place >= kLocatorBytes) {
    unsigned char locator[kLocatorBytes], record[kEnd64Bytes];
    file.read(place - kLocatorBytes, locator, kLocatorBytes);
    if (u32(locator) == kLocator64) {
      const uint64_t at64 = u64(locator + 8);
      file.require(at64 <= place - kLocatorBytes && place - kLocatorBytes - at64 >= kEnd64Bytes,
                   "the zip64 record at byte {} is outside the file", at64);
      file.read(at64, record, kEnd64Bytes);
      file.require(u32(record) == kEnd64, "there is no zip64 record at byte {}", at64);
      found = {u64(record + 48), u64(record + 40), u64(record + 32), at64};
    }
  }
  file.require(found.begin <= found.end && found.bytes <= found.end - found.begin,
               "the zip directory of {} bytes at byte {} passes its own end at byte {}", found.bytes, found.begin,
               found.end);
  file.require(found.count <= found.bytes / kDirectoryBytes, "a zip directory of {} bytes cannot list {} entries",
               found.bytes, found.count);
  return found;
}

/// Takes from the zip64 field of an entry what its 32 bits could not hold.
void read_zip64(const InputFile& file, const std::vector<unsigned char>& extra, ZipEntry& entry) {
  size_t at = 0, end = 0;  // of the field's content
  for (size_t field = 0; field + 4 <= extra.size() && end == 0; field += 4 + u16(&extra[field + 2]))
    if (u16(&extra[field]) == 1) at = field + 4, end = std::min(extra.size(), at + u16(&extra[field + 2]));
  for (uint64_t* value : {&entry.bytes, &entry.stored_bytes, &entry.header}) {
    if (*value != kIn64) continue;
    file.require(end >= at + 8, "entry {}: its zip64 field is missing or too short", in_quotes(entry.name));
    *value = u64(&extra[at]), at += 8;
  }
}

/// The content of an entry.
class EntrySource final : public ByteSource {
 public:
  EntrySource(const InputFile& file, const ZipEntry& entry)
      : ByteSource(file, in_quotes(entry.name), entry.bytes), entry_(entry), buffer_(entry.deflated ? kBuffer : 0) {
    if (entry_.deflated) require(inflateInit2(&z_, -MAX_WBITS) == Z_OK, "no memory to decompress it");
    if (entry_.bytes == 0) finish();
  }
  ~EntrySource() override {
    if (entry_.deflated) inflateEnd(&z_);
  }

 private:
  static constexpr size_t kBuffer = size_t(1) << 16;

  void fill(uint64_t at, void* out, uint64_t bytes) override {
    constexpr uint64_t kMost = uint64_t(1) << 30;  // zlib counts in unsigned int
    auto* to = static_cast<unsigned char*>(out);
    for (uint64_t done = 0; done < bytes;) {
      const uint64_t part = std::min(bytes - done, kMost);
      if (entry_.deflated) {
        require(inflate_some(to + done, part) == part, "its content is shorter than the {} bytes stated", entry_.bytes);
      } else {
        file().read(entry_.begin + at + done, to + done, part);
      }
      crc_ = uint32_t(crc32(crc_, to + done, uInt(part)));
      done += part;
    }
    if (bytes > 0 && at + bytes == entry_.bytes) finish();
  }

  uint64_t inflate_some(unsigned char* out, uint64_t bytes) {
    z_.next_out = out, z_.avail_out = uInt(bytes);
    while (z_.avail_out > 0 && !ended_) {
      if (z_.avail_in == 0) {
        const uint64_t part = std::min<uint64_t>(entry_.stored_bytes - taken_, kBuffer);
        if (part == 0) break;
        file().read(entry_.begin + taken_, buffer_.data(), part);
        z_.next_in = buffer_.data(), z_.avail_in = uInt(part), taken_ += part;
      }
      const int result = inflate(&z_, Z_NO_FLUSH);
      require(result == Z_OK || result == Z_STREAM_END, "damaged: {}", z_.msg ? z_.msg : zError(result));
      ended_ = result == Z_STREAM_END;
    }
    return bytes - z_.avail_out;
  }

  void finish() {
    if (entry_.deflated) {
      unsigned char more = 0;
      require(inflate_some(&more, 1) == 0, "its content is longer than the {} bytes stated", entry_.bytes);
      require(ended_ && taken_ == entry_.stored_bytes && z_.avail_in == 0,
              "damaged: its packed data does not end with it");
    }
    require(entry_.crc == 0 || crc_ == entry_.crc, "damaged: its checksum is not the one stated");
  }

  const ZipEntry& entry_;
  z_stream z_ = {};
  std::vector<unsigned char> buffer_;
  uint64_t taken_ = 0;
  uint32_t crc_ = 0;
  bool ended_ = false;
};

}  // namespace

ZipArchive::ZipArchive(const InputFile& file) : file_(file) {
  const Directory directory = find_directory(file);
  read_directory(directory.begin, directory.bytes, directory.count);
  for (size_t i = 0; i < entries_.size(); ++i) {
    file_.require(index_.emplace(entries_[i].name, i).second, "two entries are called {}", in_quotes(entries_[i].name));
    place(entries_[i], directory.begin);
  }
  std::vector<const ZipEntry*> order;
  for (const ZipEntry& entry : entries_) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const ZipEntry* a, const ZipEntry* b) { return a->header < b->header; });
  for (size_t i = 1; i < order.size(); ++i)
    file_.require(order[i - 1]->begin + order[i - 1]->stored_bytes <= order[i]->header, "the entries {} and {} overlap",
                  in_quotes(order[i - 1]->name), in_quotes(order[i]->name));
}

void ZipArchive::read_directory(uint64_t begin, uint64_t bytes, uint64_t count) {
  FileRange in(file_, begin, begin + bytes, "zip directory");
  for (uint64_t i = 0; i < count; ++i) {
    unsigned char head[kDirectoryBytes];
    in.read(head, kDirectoryBytes);
    in.require(u32(head) == kDirectoryEntry, "there is no entry at byte {}", in.position() - kDirectoryBytes);
    ZipEntry entry{
        .crc = u32(head + 16), .stored_bytes = u32(head + 20), .bytes = u32(head + 24), .header = u32(head + 42)};
    entry.name.resize(u16(head + 28));
    in.read(entry.name.data(), entry.name.size());
    std::vector<unsigned char> extra(u16(head + 30)), comment(u16(head + 32));
    in.read(extra.data(), extra.size());
    in.read(comment.data(), comment.size());
    read_zip64(file_, extra, entry);
    const std::string shown = in_quotes(entry.name);
    constexpr int kKnownFlags = 0x080e;  // how deflate was set, sizes behind the data, name in UTF-8
    const uint16_t flags = u16(head + 8), method = u16(head + 10);
    in.require((flags & ~kKnownFlags) == 0, "entry {} is encrypted or has flags {} that are not known", shown, flags);
    in.require(method == 0 || method == Z_DEFLATED, "entry {} is packed by method {}; stored and deflated can be read",
               shown, method);
    entry.deflated = method != 0;
    constexpr uint64_t kDeflateLimit = 1032;  // no byte of deflate stands for more
    in.require(entry.deflated ? entry.bytes / kDeflateLimit <= entry.stored_bytes : entry.bytes == entry.stored_bytes,
               "entry {} cannot hold {} bytes in {}", shown, entry.bytes, entry.stored_bytes);
    entries_.push_back(std::move(entry));
  }
}

void ZipArchive::place(ZipEntry& entry, uint64_t directory) const {
  const std::string shown = in_quotes(entry.name);
  file_.require(entry.header <= directory && directory - entry.header >= kLocalBytes,
                "entry {} lies at byte {}, behind the last entry's end at {}", shown, entry.header, directory);
  unsigned char head[kLocalBytes];
  file_.read(entry.header, head, kLocalBytes);
  file_.require(u32(head) == kLocalHeader && u16(head + 8) == (entry.deflated ? Z_DEFLATED : 0),
                "entry {}: there is no such entry at byte {}", shown, entry.header);
  std::string name(u16(head + 26), '\0');
  file_.read(entry.header + kLocalBytes, name.data(), name.size());
  file_.require(name == entry.name, "entry {} is called {} where it lies", shown, in_quotes(name));
  entry.begin = entry.header + kLocalBytes + name.size() + u16(head + 28);
  file_.require(entry.begin <= directory && entry.stored_bytes <= directory - entry.begin,
                "entry {} of {} bytes at byte {} passes the last entry's end at {}: truncated", shown,
                entry.stored_bytes, entry.begin, directory);
}

const ZipEntry* ZipArchive::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

std::unique_ptr<ByteSource> ZipArchive::open(const ZipEntry& entry) const {
  return std::make_unique<EntrySource>(file_, entry);
}

}  // namespace vitrine::data
