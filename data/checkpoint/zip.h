#pragma once
#include <memory>
#include <unordered_map>
#include <vector>

#include "data/checkpoint/input_file.h"

/// Zip archives (APPNOTE.TXT 6.3), as torch.save and numpy.savez write them: entries stored or deflated, zip64 or not.
/// Our own reader, because its limits must hold against hostile files and the part of the format in use is small.
namespace vitrine::data {

struct ZipEntry {
  std::string name = {};
  bool deflated = false;
  uint32_t crc = 0;  ///< of the content; 0: the writer left it out
  uint64_t stored_bytes = 0, bytes = 0;
  uint64_t header = 0, begin = 0;  ///< where the local header and the stored bytes lie
};

/// The entries of an archive, in the order of its directory.
class ZipArchive {
 public:
  /// Reads the directory at the end and every local header. @throws IoError: no directory, sizes or places outside the
  /// file, entries that overlap or are named twice, encryption, packing other than deflate, or more bytes than deflate
  /// can hold
  explicit ZipArchive(const InputFile& file);

  const InputFile& file() const { return file_; }
  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// nullptr if there is no entry of that name
  const ZipEntry* find(const std::string& name) const;
  /// The entry's content. Reading its last byte checks the number of bytes and the checksum.
  std::unique_ptr<ByteSource> open(const ZipEntry& entry) const;

 private:
  void read_directory(uint64_t begin, uint64_t bytes, uint64_t count);
  void place(ZipEntry& entry, uint64_t directory) const;

  const InputFile& file_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace vitrine::data
