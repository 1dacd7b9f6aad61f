#include "apps/train/official.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <memory>

namespace vitrine::apps {
namespace {

constexpr double kOfficialEma = 0.99996;
constexpr const char* kGroup = "Flags of the DeiT program";

/// A flag that changes nothing here.
struct Idle {
  const char* names;
  bool is_switch;
  const char* fits;  ///< the value that asks for nothing; null: every value is passed over
  const char* why;
};

constexpr const char *kOneProcess = "one process trains; --batch-size is the whole batch",
                     *kOneCycle = "one cycle of the cosine, as in the reference, where it then has no effect",
                     *kNoNoise = "noise on the learning rate is not offered";

const std::vector<Idle>& idle_flags() {
  static const std::vector<Idle> flags = {
      {"--sched", false, "cosine",
       "cosine is the only schedule; its flags are --lr, --warmup-lr, --min-lr, --warmup-epochs"},
      {"--cooldown-epochs", false, nullptr, "training ends with --epochs, as in the reference"},
      {"--decay-epochs", false, nullptr, kOneCycle},
      {"--decay-rate,--dr", false, nullptr, kOneCycle},
      {"--patience-epochs", false, nullptr, "of the schedule plateau"},
      {"--lr-noise", false, "", kNoNoise},
      {"--lr-noise-pct", false, nullptr, kNoNoise},
      {"--lr-noise-std", false, nullptr, kNoNoise},
      {"--start_epoch,--start-epoch", false, "0", "a run goes on where its checkpoint is"},
      {"--drop-block", false, "0", "is not offered"},
      {"--resplit", true, nullptr, "there are no splits of augmentation, as in the reference"},
      {"--cosub", true, "false", "is not offered"},
      {"--attn-only", true, "false", "is not offered"},
      {"--load-tar", true, "false", "is not offered; unpack the archive"},
      {"--inat-category", false, nullptr, "of the data sets INAT and INAT19"},
      {"--model-ema-force-cpu", true, nullptr, "averages stay with the weights"},
      {"--amp,!--no-amp", true, nullptr, "--precision f32 or bf16 decides"},
      {"--pin-mem,!--no-pin-mem", true, nullptr, "the loader decides"},
      {"--dist-eval", true, nullptr, kOneProcess},
      {"--distributed", true, nullptr, kOneProcess},
      {"--world_size,--world-size", false, nullptr, kOneProcess},
      {"--dist_url,--dist-url", false, nullptr, kOneProcess},
      {"--dist-backend", false, nullptr, kOneProcess},
      {"--local_rank,--local-rank", false, nullptr, kOneProcess},
  };
  return flags;
}

/// --data-path and --data-set as a data string.
std::string data_string(const std::string& path, const std::string& set) {
  check<UsageError>(!path.empty(), "--data-set {} needs --data-path DIR", set);
  if (set == "IMNET") return "imagefolder:" + path;
  check<UsageError>(set == "CIFAR" || set == "INAT" || set == "INAT19",
                    "--data-set must be IMNET, for any folder of images, or CIFAR, got '{}'; other data: --data", set);
  check<UsageError>(set == "CIFAR",
                    "--data-set {}: its lists of annotations are not read; sort the images into {}/train/CLASS and "
                    "{}/val/CLASS and use IMNET",
                    set, path, path);
  return "cifar100:" + path;
}

/// Says that the flag changes nothing. @throws UsageError if its value asks for something
void pass_over(const Idle& idle, const std::string& value) {
  const std::string names = idle.names;
  const size_t off = names.find('!'), comma = names.find(',');
  const bool negated = idle.is_switch && value == "false" && off != std::string::npos;
  const std::string flag = negated ? names.substr(off + 1) : names.substr(0, comma);
  if (!idle.fits) {
    std::cerr << format("{} is passed over: {}\n", flag, idle.why);
    return;
  }
  const std::string fits = idle.fits;
  const bool zero = fits == "0" && std::strtod(value.c_str(), nullptr) == 0;
  check<UsageError>(value == fits || zero, "{}{}: {}", flag, idle.is_switch ? "" : " " + value, idle.why);
}

struct Values {
  std::string data_path, data_set = "IMNET";
  bool model_ema = true;
  std::vector<std::pair<Idle, CLI::Option*>> idle;
  CLI::Option *path = nullptr, *set = nullptr, *ema = nullptr, *data = nullptr, *decay = nullptr;
};

}  // namespace

std::function<std::vector<std::string>(TrainConfig& config)> add_official_flags(CLI::App& app) {
  const auto values = std::make_shared<Values>();
  values->path = app.add_option("--data-path", values->data_path, "folder of the images")->group(kGroup);
  values->set =
      app.add_option("--data-set", values->data_set, "IMNET, for any folder of images, or CIFAR")->group(kGroup);
  values->ema = app.add_flag("--model-ema,!--no-model-ema", values->model_ema,
                             format("average weights, with --ema, or {}", kOfficialEma))
                    ->group(kGroup);
  values->data = app.get_option("--data"), values->decay = app.get_option("--ema");
  for (const Idle& idle : idle_flags()) {
    const std::string names = idle.names, first = names.substr(0, names.find(','));
    if (app.get_option_no_throw(first)) continue;
    CLI::Option* option = idle.is_switch ? app.add_flag(names) : app.add_option(names);
    values->idle.emplace_back(idle, option->group(""));  // apps/README.md lists them
  }
  return [values](TrainConfig& config) {
    std::vector<std::string> set;
    if (values->path->count() + values->set->count() > 0) {
      check<UsageError>(values->data->count() == 0, "--data and --data-path say the same; give one");
      config.data = data_string(values->data_path, values->data_set);
      set.push_back("data");
    }
    if (values->ema->count() > 0 && (!values->model_ema || values->decay->count() == 0)) {
      config.ema = values->model_ema ? kOfficialEma : 0;
      set.push_back("ema");
    }
    for (const auto& [idle, option] : values->idle)
      if (option->count() > 0) pass_over(idle, option->results().back());
    return set;
  };
}

}  // namespace vitrine::apps
