#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "data/datasets/byte_reader.h"
#include "data/datasets/formats.h"

namespace vitrine::data {
namespace {

constexpr int64_t kSide = 32, kImage = 3 * kSide * kSide, kRecord = 1 + kImage, kMaxRecords = 1'000'000;

/// Appends the records of one file.
void append(const std::string& file, StoredImages& stored) {
  ByteReader reader(file);
  const uint64_t bytes = reader.most_bytes();
  check<IoError>(!reader.compressed(), "{}: gzipped; CIFAR-10's binary version must be unpacked", file);
  check<IoError>(bytes > 0 && bytes % uint64_t(kRecord) == 0,
                 "{}: not CIFAR-10's binary version: {} bytes are not a multiple of {}", file, bytes, kRecord);
  const uint64_t records = bytes / uint64_t(kRecord);
  check<IoError>(records <= uint64_t(kMaxRecords), "{}: {} images; at most {} can be read", file, records, kMaxRecords);
  const size_t before = stored.bytes.size();
  stored.bytes.resize(before + records * uint64_t(kImage));
  uint8_t record[kRecord];
  for (uint64_t i = 0; i < records; ++i) {
    check<IoError>(reader.read(record, kRecord) == size_t(kRecord), "{}: truncated while it was read", file);
    check<IoError>(record[0] < 10, "{}: image {} has label {}; CIFAR-10 has classes 0 to 9", file, i, int(record[0]));
    stored.classes.push_back(record[0]);
    std::memcpy(stored.bytes.data() + before + i * uint64_t(kImage), record + 1, size_t(kImage));
  }
}

}  // namespace

std::unique_ptr<Dataset> open_cifar10(const std::string& folder, Split split) {
  namespace fs = std::filesystem;
  std::vector<std::string> names = {"test_batch.bin"};
  if (split == Split::train) {
    names.clear();
    for (int k = 1; k <= 5; ++k) names.push_back("data_batch_" + std::to_string(k) + ".bin");
  }
  std::error_code error;
  const fs::path inner = fs::path(folder) / "cifar-10-batches-bin";
  const fs::path root = fs::is_directory(inner, error) ? inner : fs::path(folder);
  StoredImages stored;
  for (const std::string& name : names) append((root / name).string(), stored);
  stored.labels = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  stored.preprocessing = {
      .height = kSide, .width = kSide, .mean = {0.4914, 0.4822, 0.4465}, .std = {0.2470, 0.2435, 0.2616}};
  stored.description = format("CIFAR-10 {}: {} colour images of {} x {}, 10 classes, from {}", split,
                              stored.classes.size(), kSide, kSide, root.string());
  return store(std::move(stored));
}

}  // namespace vitrine::data
