#pragma once
#include <memory>

#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/elements.h"
#include "data/checkpoint/pickle.h"

/// Tensors out of the object that torch.save pickled.
namespace vitrine::data {

/// A storage as a tensor refers to it: ('storage', type, key, location, count), in the old form also (key of the
/// window, offset, count), a part of the storage. Counts are in elements.
struct StorageId {
  ElementType type = {};
  bool untyped = false;  ///< bytes, whose type the tensor states
  std::string key = {};
  int64_t count = 0;
  int64_t window_offset = 0, window_count = 0;  ///< what tensors may use
};
/// @throws IoError if the id is none of a storage, or of an element type that cannot be read
StorageId storage_id(const InputFile& file, const PickleValue& persistent);

/// Where the storages of a file lie.
class Storages {
 public:
  virtual ~Storages() = default;
  virtual std::unique_ptr<ByteSource> open(const StorageId& id) const = 0;
  virtual bool big_endian() const = 0;
};

/// Reads the tensors of an entry of `root` (read_checkpoint) into `read`, with the entry's key and notes.
void read_state_dict(const InputFile& file, const PickleValue& root, const std::string& key, const Storages& storages,
                     Checkpoint& read);

}  // namespace vitrine::data
