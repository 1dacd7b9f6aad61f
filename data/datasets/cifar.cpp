#include <cstring>
#include <filesystem>
#include <sstream>

#include "core/error.h"
#include "data/datasets/byte_reader.h"
#include "data/datasets/formats.h"

namespace vitrine::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 32, kImage = 3 * kSide * kSide, kMaxRecords = 1'000'000;

/// One of the two datasets: a record is its labels, each below its own limit, and the planes of the image.
struct Form {
  const char* name;
  std::vector<int> limits;
  size_t label;  ///< which of them is the class
};

/// Appends the records of one file.
void append(const std::string& file, const Form& form, StoredImages& stored) {
  ByteReader reader(file);
  const size_t labels = form.limits.size(), record_bytes = labels + size_t(kImage);
  const uint64_t bytes = reader.most_bytes();
  check<IoError>(!reader.compressed(), "{}: gzipped; {}'s binary version must be unpacked", file, form.name);
  check<IoError>(bytes > 0 && bytes % record_bytes == 0,
                 "{}: not {}'s binary version: {} bytes are not a multiple of {}", file, form.name, bytes,
                 record_bytes);
  const uint64_t records = bytes / record_bytes;
  check<IoError>(records <= uint64_t(kMaxRecords), "{}: {} images; at most {} can be read", file, records, kMaxRecords);
  const size_t before = stored.bytes.size();
  stored.bytes.resize(before + records * uint64_t(kImage));
  std::vector<uint8_t> record(record_bytes);
  for (uint64_t i = 0; i < records; ++i) {
    check<IoError>(reader.read(record.data(), record_bytes) == record_bytes, "{}: truncated while it was read", file);
    for (size_t l = 0; l < labels; ++l) {
      const char* kind = labels == 1 ? "" : (l == 0 ? "coarse " : "fine ");
      check<IoError>(record[l] < form.limits[l], "{}: image {} has {}label {}; {} has {}classes 0 to {}", file, i, kind,
                     int(record[l]), form.name, kind, form.limits[l] - 1);
    }
    stored.classes.push_back(record[form.label]);
    std::memcpy(stored.bytes.data() + before + i * uint64_t(kImage), record.data() + labels, size_t(kImage));
  }
}

/// `inner` in `folder`, where it is there; people give either.
fs::path root_of(const std::string& folder, const char* inner) {
  std::error_code error;
  return fs::is_directory(fs::path(folder) / inner, error) ? fs::path(folder) / inner : fs::path(folder);
}

/// The lines of a file of `count` names.
std::vector<std::string> read_names(const std::string& file, size_t count) {
  ByteReader reader(file);
  constexpr size_t kMost = 10'000;
  std::string text(kMost, '\0');
  text.resize(reader.read(reinterpret_cast<uint8_t*>(text.data()), kMost));
  std::istringstream lines(text);
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  check<IoError>(reader.at_end() && names.size() == count, "{}: not the names of {} classes, one a line", file, count);
  return names;
}

std::unique_ptr<Dataset> finish(StoredImages stored, const Form& form, Split split, const fs::path& root) {
  stored.preprocessing.height = stored.preprocessing.width = kSide;
  stored.description = format("{} {}: {} colour images of {} x {}, {} classes, from {}", form.name, split,
                              stored.classes.size(), kSide, kSide, stored.labels.size(), root.string());
  return store(std::move(stored));
}

}  // namespace

std::unique_ptr<Dataset> open_cifar10(const std::string& folder, Split split) {
  const Form form{"CIFAR-10", {10}, 0};
  const fs::path root = root_of(folder, "cifar-10-batches-bin");
  std::vector<std::string> names = {"test_batch.bin"};
  if (split == Split::train) {
    names.clear();
    for (int k = 1; k <= 5; ++k) names.push_back("data_batch_" + std::to_string(k) + ".bin");
  }
  StoredImages stored;
  for (const std::string& name : names) append((root / name).string(), form, stored);
  stored.labels = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  stored.preprocessing.mean = {0.4914, 0.4822, 0.4465}, stored.preprocessing.std = {0.2470, 0.2435, 0.2616};
  return finish(std::move(stored), form, split, root);
}

std::unique_ptr<Dataset> open_cifar100(const std::string& folder, Split split, CifarLabels labels) {
  const bool fine = labels == CifarLabels::fine;
  const Form form{"CIFAR-100", {20, 100}, size_t(fine)};
  const fs::path root = root_of(folder, "cifar-100-binary");
  StoredImages stored;
  append((root / (split == Split::train ? "train.bin" : "test.bin")).string(), form, stored);
  stored.labels =
      read_names((root / (fine ? "fine_label_names.txt" : "coarse_label_names.txt")).string(), fine ? 100 : 20);
  stored.preprocessing.mean = {0.5071, 0.4867, 0.4408}, stored.preprocessing.std = {0.2675, 0.2565, 0.2761};
  return finish(std::move(stored), form, split, root);
}

}  // namespace vitrine::data
