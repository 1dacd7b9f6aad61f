#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "data/datasets/byte_reader.h"
#include "data/datasets/formats.h"

namespace vitrine::data {
namespace {

constexpr int64_t kMaxImages = 10'000'000, kMaxSide = 1024, kMaxBytes = int64_t(1) << 31;

/// An idx file of bytes: 00 00 08 rank, one big-endian u32 per dimension, the values. Only the header is read at first,
/// so that what it claims can be judged before memory is asked for.
class IdxFile {
 public:
  IdxFile(const std::string& file, int rank) : reader_(file) {
    uint8_t head[4];
    read(head, 4);
    check<IoError>(head[0] == 0 && head[1] == 0, "{}: not an idx file: it begins with bytes {} {} instead of 0 0", file,
                   int(head[0]), int(head[1]));
    check<IoError>(head[2] == 0x08, "{}: its values have idx type {}; only 8, unsigned bytes, can be read", file,
                   int(head[2]));
    check<IoError>(head[3] == rank, "{}: {} dimensions where {} are expected", file, int(head[3]), rank);
    int64_t values = 1;
    for (int d = 0; d < rank; ++d) {
      read(head, 4);
      const int64_t n = int64_t(head[0]) << 24 | head[1] << 16 | head[2] << 8 | head[3];
      const int64_t most = d == 0 ? kMaxImages : kMaxSide;
      check<IoError>(n >= 1 && n <= most, "{}: dimension {} is {}; 1 to {} can be read", file, d, n, most);
      sizes_.push_back(n);
      values *= n;  // at most 10^7 * 2^20: no overflow
    }
    check<IoError>(values <= kMaxBytes, "{}: it states {} bytes; at most {} can be read", file, values, kMaxBytes);
    const uint64_t header = 4 + 4 * uint64_t(rank);
    check<IoError>(header + uint64_t(values) <= reader_.most_bytes(),
                   "{}: truncated: it states {} bytes of data, but the file can hold only {}", file, values,
                   reader_.most_bytes() - std::min(header, reader_.most_bytes()));
    values_ = size_t(values);
  }

  const std::string& file() const { return reader_.file(); }
  int64_t size(size_t d) const { return sizes_[d]; }

  std::vector<uint8_t> values() {
    std::vector<uint8_t> values(values_);
    read(values.data(), values_);
    check<IoError>(reader_.at_end(), "{}: more data than the {} bytes that its header states", file(), values_);
    return values;
  }

 private:
  void read(uint8_t* out, size_t bytes) {
    const size_t got = reader_.read(out, bytes);
    check<IoError>(got == bytes, "{}: truncated: {} bytes missing", file(), bytes - got);
  }

  ByteReader reader_;
  std::vector<int64_t> sizes_;
  size_t values_ = 0;
};

std::string find_file(const std::string& folder, const std::string& stem, const std::string& kind,
                      const std::string& remedy) {
  for (const char* separator : {"-", "."})
    for (const char* suffix : {"", ".gz"}) {
      const auto path = std::filesystem::path(folder) / (stem + separator + kind + suffix);
      std::error_code error;
      if (std::filesystem::exists(path, error)) return path.string();
      check<IoError>(!error, "{}: {}", path.string(), error.message());
    }
  throw IoError(format("{}: no {}-{} and no {}-{}.gz there{}", folder, stem, kind, stem, kind,
                       remedy.empty() ? "" : "; " + remedy));
}

}  // namespace

std::unique_ptr<Dataset> open_idx(const IdxDescription& description, const std::string& folder, Split split,
                                  const std::string& remedy) {
  const std::string stem = split == Split::train ? "train" : "t10k";
  const std::string labels_file = find_file(folder, stem + "-labels", "idx1-ubyte", remedy);
  const std::string images_file = find_file(folder, stem + "-images", "idx3-ubyte", remedy);
  const int64_t classes = int64_t(description.labels.size());

  IdxFile labels(labels_file, 1), images(images_file, 3);
  check<IoError>(labels.size(0) == images.size(0), "{}: {} labels, but {} has {} images", labels_file, labels.size(0),
                 images_file, images.size(0));
  StoredImages stored;
  stored.classes = labels.values();
  for (size_t i = 0; i < stored.classes.size(); ++i)
    check<IoError>(stored.classes[i] < classes, "{}: label {} is {}; {} has classes 0 to {}", labels_file, i,
                   int(stored.classes[i]), description.name, classes - 1);
  stored.bytes = images.values();
  stored.labels = description.labels;
  stored.preprocessing = {.height = images.size(1),
                          .width = images.size(2),
                          .grey = true,
                          .mean = description.mean,
                          .std = description.std};
  stored.description = format("{} {}: {} grey images of {} x {}, {} classes, from {}", description.name, split,
                              images.size(0), images.size(1), images.size(2), classes, folder);
  return store(std::move(stored));
}

}  // namespace vitrine::data
