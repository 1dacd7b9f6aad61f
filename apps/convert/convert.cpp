#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/classifier/checkpoint_flags.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags : CommonFlags {
  std::string in, out, key;
  data::NameHash hash = data::NameHash::verify;
};

int64_t bytes_of(const Tensor& t) { return t.numel() * size_of(t.dtype()); }

int convert(const Flags& flags) {
  flags.apply();
  data::Checkpoint read = data::read_checkpoint(flags.in, flags.key, flags.hash);
  // Other programs look for this key; the file's own metadata, if it has any, says what it wants.
  if (read.content.metadata.empty()) read.content.metadata = {{"format", "pt"}};
  data::write_safetensors(flags.out, read.content);
  Json list = Json::array();
  std::map<std::string, int64_t> dtypes;
  int64_t bytes = 0;
  for (const auto& [name, t] : read.content.tensors) {
    list.push_back({{"name", name},
                    {"dtype", to_string(t.dtype())},
                    {"shape", std::vector<int64_t>(t.shape().begin(), t.shape().end())}});
    ++dtypes[to_string(t.dtype())];
    bytes += bytes_of(t);
    if (!flags.json) std::cout << format("{}  {} {}\n", name, t.shape(), t.dtype());
  }
  for (const std::string& note : read.notes) std::cerr << format("{}: {}\n", flags.in, note);
  if (flags.json) {
    print_json({{"file", flags.out},
                {"format", read.format},
                {"key", read.key},
                {"tensors", read.content.tensors.size()},
                {"bytes", bytes},
                {"dtypes", dtypes},
                {"list", list},
                {"notes", read.notes}});
  } else {
    std::string counts;
    for (const auto& [dtype, count] : dtypes) counts += format("{}{} {}", counts.empty() ? "" : ", ", count, dtype);
    std::cout << format("{}: {} tensors ({}), {} bytes, from {}{}{}\n", flags.out, read.content.tensors.size(), counts,
                        bytes, read.format, read.key.empty() ? "" : ", entry ", read.key);
  }
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  app.add_option("IN", flags->in, "checkpoint: .pth (zip or legacy), .npz or .safetensors, told by its content")
      ->required();
  app.add_option("OUT", flags->out, "the file to write, .safetensors")->required();
  app.add_option("--key", flags->key, "entry of a .pth file's dict (default: the dict itself, model, state_dict, ...)");
  add_name_hash_flag(app, flags->hash);
  return [flags] { return convert(*flags); };
}

const RegisterCommand command({"convert", "Turns a checkpoint of PyTorch or NumPy into safetensors", setup});

}  // namespace
}  // namespace vitrine::apps
