#include "data/checkpoint/checkpoint.h"

#include "data/checkpoint/npz.h"
#include "data/checkpoint/torch.h"

namespace vitrine::data {
namespace {

void check_no_key(const InputFile& file, const std::string& key) {
  file.require(key.empty(), "only files of torch.save have entries such as {} to choose from", quoted(key));
}

Checkpoint read_zip(const InputFile& file, const std::string& key) {
  const ZipArchive archive(file);
  if (is_torch(archive)) return read_torch(archive, key);
  check_no_key(file, key);
  file.require(is_npz(archive), "a zip archive, but neither of torch.save nor of numpy.savez");
  return read_npz(archive);
}

}  // namespace

Checkpoint read_checkpoint(const std::string& path, const std::string& key) {
  const InputFile file(path);
  constexpr uint64_t kHead = 9;
  unsigned char head[kHead] = {};
  file.read(0, head, std::min(kHead, file.size()));
  // The length in front of a safetensors header can look like anything, but then follows an object.
  const bool zip = head[0] == 'P' && head[1] == 'K', safetensors = head[8] == '{' || !(zip || is_pickle(head));
  if (!safetensors) return zip ? read_zip(file, key) : read_torch_legacy(file, key);
  check_no_key(file, key);
  return {.format = "safetensors", .content = read_safetensors(file)};
}

}  // namespace vitrine::data
