#include "data/checkpoint/torch.h"

#include <algorithm>
#include <map>
#include <optional>

#include "data/checkpoint/state_dict.h"

namespace vitrine::data {
namespace {

constexpr const char* kPickleEntry = "/data.pkl";

/// The folder in the archive that everything lies in, with its slash; empty if there is no pickle in it.
std::string folder_of(const ZipArchive& archive) {
  for (const ZipEntry& e : archive.entries())
    if (e.name.ends_with(kPickleEntry) && e.name.find('/') == e.name.size() - std::string(kPickleEntry).size())
      return e.name.substr(0, e.name.find('/') + 1);
  return {};
}

std::string read_text(const ZipArchive& archive, const ZipEntry& entry) {
  const auto in = archive.open(entry);
  constexpr uint64_t kMost = 64;
  in->require(in->remaining() <= kMost, "{} bytes where a word is expected", in->remaining());
  std::string text(in->remaining(), '\0');
  in->read(text.data(), text.size());
  return text;
}

class ZipStorages final : public Storages {
 public:
  ZipStorages(const ZipArchive& archive, std::string folder) : archive_(archive), folder_(std::move(folder)) {
    const ZipEntry* order = archive.find(folder_ + "byteorder");
    const std::string text = order ? read_text(archive, *order) : "little";
    archive.file().require(text == "little" || text == "big", "the byte order {} is neither little nor big",
                           in_quotes(text));
    big_endian_ = text == "big";
  }
  std::unique_ptr<ByteSource> open(const StorageId& id) const override {
    const ZipEntry* entry = archive_.find(folder_ + "data/" + id.key);
    archive_.file().require(entry, "storage {} is not in the archive", in_quotes(id.key));
    return archive_.open(*entry);
  }
  bool big_endian() const override { return big_endian_; }

 private:
  const ZipArchive& archive_;
  std::string folder_;
  bool big_endian_ = false;
};

/// The storages behind the pickles of a file of the old form.
class LegacyStorages final : public Storages {
 public:
  /// @param at  where the first begins
  LegacyStorages(const InputFile& file, const Pickle& object, const PickleValue& keys, uint64_t at, bool big_endian)
      : file_(file), big_endian_(big_endian) {
    std::map<std::string, StorageId> ids;
    for (const PickleValue& value : object.values())
      if (value.is(PickleValue::Kind::persistent)) {
        const StorageId id = storage_id(file, value);
        ids.emplace(id.key, id);
      }
    file.require(keys.is(PickleValue::Kind::list), "the list of storages is none");
    for (const PickleValue* key : keys.items) {
      const auto id = ids.find(key->text);
      file.require(id != ids.end(), "storage {} belongs to no tensor", in_quotes(key->text));
      unsigned char bytes[8];
      FileRange(file, at, file.size(), "storage " + in_quotes(key->text)).read(bytes, sizeof bytes);
      if (big_endian) std::reverse(std::begin(bytes), std::end(bytes));
      const auto count = little_endian<uint64_t>(bytes);
      at += sizeof bytes;
      file.require(count == uint64_t(id->second.count), "storage {} holds {} elements, its tensors say {}",
                   in_quotes(key->text), count, id->second.count);
      const uint64_t element = uint64_t(id->second.type.bytes);
      file.require(count <= (file.size() - at) / element, "truncated: storage {} of {} elements at byte {}",
                   in_quotes(key->text), count, at);
      file.require(places_.emplace(key->text, std::pair(at, at + count * element)).second, "storage {} is there twice",
                   in_quotes(key->text));
      at += count * element;
    }
    file.require(at == file.size(), "{} bytes after the last storage", file.size() - at);
  }
  std::unique_ptr<ByteSource> open(const StorageId& id) const override {
    const auto place = places_.find(id.key);
    file_.require(place != places_.end(), "storage {} is not in the file", in_quotes(id.key));
    return std::make_unique<FileRange>(file_, place->second.first, place->second.second,
                                       "storage " + in_quotes(id.key));
  }
  bool big_endian() const override { return big_endian_; }

 private:
  const InputFile& file_;
  std::map<std::string, std::pair<uint64_t, uint64_t>> places_;  // bytes [begin, end)
  bool big_endian_;
};

/// Whether the first pickle of a file is the magic number, an integer of ten bytes.
bool has_magic_number(const InputFile& file) {
  constexpr unsigned char kMagic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
  unsigned char head[32] = {};
  file.read(0, head, std::min<uint64_t>(sizeof head, file.size()));
  return std::search(std::begin(head), std::end(head), std::begin(kMagic), std::end(kMagic)) != std::end(head);
}

bool is_little_endian(const InputFile& file, const PickleValue& facts) {
  for (size_t i = 0; facts.is(PickleValue::Kind::dict) && i + 1 < facts.items.size(); i += 2)
    if (facts.items[i]->text == "little_endian") return facts.items[i + 1]->number != 0;
  file.require(false, "the third pickle does not state the byte order");
  return true;
}

}  // namespace

bool is_torch(const ZipArchive& archive) { return !folder_of(archive).empty(); }

bool is_pickle(const unsigned char* head) { return head[0] == 0x80 && head[1] >= 2 && head[1] <= 5; }

Checkpoint read_torch(const ZipArchive& archive, const std::string& key) {
  const std::string folder = folder_of(archive);
  for (const ZipEntry& e : archive.entries())
    archive.file().require(!e.name.starts_with(folder + "code/") && e.name != folder + "constants.pkl",
                           "an exported program (TorchScript), no checkpoint; save its state_dict()");
  const auto in = archive.open(*archive.find(folder + (kPickleEntry + 1)));
  const Pickle object(*in);
  in->skip_rest();
  Checkpoint read{.format = "torch"};
  read_state_dict(archive.file(), object.root(), key, ZipStorages(archive, folder), read);
  return read;
}

Checkpoint read_torch_legacy(const InputFile& file, const std::string& key) {
  file.require(has_magic_number(file), "a pickle, but not of torch.save");
  uint64_t at = 0;
  const auto next = [&] {
    FileRange in(file, at, file.size(), at ? format("pickle at byte {}", at) : "");
    auto pickle = std::make_unique<Pickle>(in);
    at += pickle->bytes();
    return pickle;
  };
  next();
  constexpr int64_t kProtocol = 1001;
  const auto protocol = next();
  file.require(protocol->root().number == kProtocol, "protocol {} of torch.save; {} can be read",
               protocol->root().number, kProtocol);
  const bool big_endian = !is_little_endian(file, next()->root());
  const auto object = next(), keys = next();
  const LegacyStorages storages(file, *object, keys->root(), at, big_endian);
  Checkpoint read{.format = "torch-legacy"};
  read_state_dict(file, object->root(), key, storages, read);
  return read;
}

}  // namespace vitrine::data
