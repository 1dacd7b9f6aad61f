#include "data/checkpoint/checkpoint.h"

#include <filesystem>
#include <string_view>

#include "data/checkpoint/npz.h"
#include "data/checkpoint/sha256.h"
#include "data/checkpoint/torch.h"

namespace vitrine::data {
namespace {

void check_no_key(const InputFile& file, const std::string& key) {
  file.require(key.empty(), "only files of torch.save have entries such as {} to choose from", in_quotes(key));
}

/// The eight digits at the end of the name; empty if it has none.
std::string hash_in_name(const std::string& path) {
  constexpr size_t kDigits = 8;
  const std::string stem = std::filesystem::path(path).stem().string();
  if (stem.size() <= kDigits || stem[stem.size() - kDigits - 1] != '-') return {};
  const std::string digits = stem.substr(stem.size() - kDigits);
  return digits.find_first_not_of("0123456789abcdef") == std::string::npos ? digits : std::string();
}

void check_name(const InputFile& file, NameHash wanted) {
  const std::string stated = hash_in_name(file.path());
  if (wanted == NameHash::ignore || stated.empty()) return;
  Sha256 hash;
  std::vector<std::byte> part(size_t(std::min<uint64_t>(file.size(), 1 << 20)));
  for (uint64_t at = 0; at < file.size(); at += part.size()) {
    part.resize(size_t(std::min<uint64_t>(part.size(), file.size() - at)));
    file.read(at, part.data(), part.size());
    hash.update(part);
  }
  const std::string found = hash.finish().substr(0, stated.size());
  file.require(found == stated,
               "its name says that its SHA-256 begins with {}, but it begins with {}: the file is damaged or another "
               "one; to read it all the same, rename it or give --ignore-name-hash",
               stated, found);
}

/// Refuses what people download or choose by mistake, by its name.
void check_mistaken(const InputFile& file) {
  struct Kind {
    std::string_view start;
    uint64_t at;
    const char* what;
  };
  static constexpr Kind kinds[] = {
      {"version https://git-lfs", 0, "the pointer of Git LFS in place of the file; git lfs pull fetches it"},
      {"{", 0, "a JSON text; of weights in several files, give the files one by one"},
      {"<", 0, "a text, perhaps a web page; download the file itself"},
      {"ustar", 257, "a tar archive; unpack it, or if PyTorch of before 2018 wrote it, save it anew with torch.save"},
      {"\x7f"
       "ELF",
       0, "a program"},
      {"\x89HDF", 0, "an HDF5 file, as of Keras; save its arrays with numpy.savez"},
      {"\x1f\x8b", 0, "a gzip archive; unpack it"}};
  for (const Kind& kind : kinds) {
    if (file.size() < kind.at + kind.start.size()) continue;
    std::string there(kind.start.size(), '\0');
    file.read(kind.at, there.data(), there.size());
    file.require(there != kind.start, "is {}", kind.what);
  }
}

Checkpoint read_zip(const InputFile& file, const std::string& key, NameHash hash) {
  const ZipArchive archive(file);
  if (is_torch(archive)) {
    check_name(file, hash);
    return read_torch(archive, key);
  }
  check_no_key(file, key);
  file.require(is_npz(archive), "a zip archive, but neither of torch.save nor of numpy.savez");
  return read_npz(archive);
}

}  // namespace

Checkpoint read_checkpoint(const std::string& path, const std::string& key, NameHash hash) {
  const InputFile file(path);
  constexpr uint64_t kHead = 9;
  unsigned char head[kHead] = {};
  file.read(0, head, std::min(kHead, file.size()));
  // The length in front of a safetensors header can look like anything, but then follows an object.
  const bool zip = head[0] == 'P' && head[1] == 'K', safetensors = head[8] == '{' || !(zip || is_pickle(head));
  if (zip) return read_zip(file, key, hash);
  if (!safetensors) {
    check_name(file, hash);
    return read_torch_legacy(file, key);
  }
  if (head[8] != '{') check_mistaken(file);
  check_no_key(file, key);
  return {.format = "safetensors", .content = read_safetensors(file)};
}

}  // namespace vitrine::data
