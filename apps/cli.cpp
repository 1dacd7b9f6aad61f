#include "apps/cli.h"

#include <dnnl.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/backend.h"
#include "core/files.h"
#include "core/parallel.h"
#include "core/random.h"

namespace vitrine::apps {
namespace {

std::vector<Command>& registry() {
  static std::vector<Command> list;
  return list;
}

int count_devices(DeviceType type) {
  const Backend* backend = find_backend(type);
  return backend ? backend->device_count() : 0;
}

std::vector<std::string> usable_devices() {
  std::vector<std::string> names = {"cpu"};
  for (int i = 0; i < count_devices(DeviceType::cuda); ++i) names.push_back("cuda:" + std::to_string(i));
  if (count_devices(DeviceType::emulated) > 0) names.push_back("emulated");
  return names;
}

}  // namespace

RegisterCommand::RegisterCommand(const Command& command) { registry().push_back(command); }

std::vector<Command> commands() {
  std::vector<Command> list = registry();
  std::sort(list.begin(), list.end(),
            [](const Command& a, const Command& b) { return std::string(a.name) < std::string(b.name); });
  return list;
}

void CommonFlags::add_to(CLI::App& app) {
  app.add_option("--device", device_text, "cpu, cuda, cuda:N or emulated (default: cuda if there is one, else cpu)");
  app.add_option("--threads", threads, "threads of the CPU kernels (default: all)")->check(CLI::Range(1, 4096));
  app.add_option("--seed", seed, "seed of all random numbers (default: 0)")
      ->check([](const std::string& text) {  // CLI11 would read -1 as 2^64 - 1
        return text.starts_with("-") ? "must be a whole number from 0 on, got " + text : std::string();
      });
  app.add_option("--precision", precision, "f32 or bf16 (default: f32)")->check(CLI::IsMember({"f32", "bf16"}));
  app.add_flag("--json", json, "print one JSON document on stdout and nothing else there");
}

void CommonFlags::apply() const {
  if (!device_text.empty()) usable_device(device_text);  // an error in commands that need no device too
  if (threads > 0) set_num_threads(threads);
  default_generator() = Generator{seed, 0};
}

Device CommonFlags::device() const {
  if (!device_text.empty()) return usable_device(device_text);
  return count_devices(DeviceType::cuda) > 0 ? Device::cuda(0) : Device::cpu();
}

Dtype CommonFlags::dtype() const { return parse_dtype(precision); }

Device usable_device(const std::string& text) {
  const auto require = [&](bool condition, const std::string& problem) {
    check<UsageError>(condition, "{}; this program can use {}", problem, join(usable_devices()));
  };
  Device device;
  try {
    device = parse_device(text);
  } catch (const DeviceError&) {
    require(false, "unknown device '" + text + "'");
  }
  require(device.index < count_devices(device.type), "there is no device " + to_string(device));
  return device;
}

std::string one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    char escaped[8];
    snprintf(escaped, sizeof escaped, "\\x%02x", code);
    line += c == '\n' ? "\\n" : code < 0x20 || code == 0x7f ? escaped : std::string(1, c);
  }
  return line;
}

void make_folder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  check<WriteError>(!error, "{}: cannot be made: {}", folder, error.message());
}

void print_json(const nlohmann::ordered_json& document) {
  std::cout << document.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << std::endl;
}

std::vector<size_t> Table::widths() const {
  std::vector<size_t> widths(rows_[0].size());
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  return widths;
}

bool Table::numeric(size_t column) const {
  const auto is_figure = [](const std::string& cell) {
    char* end = nullptr;
    std::strtod(cell.c_str(), &end);
    return cell == "-" || cell == "FAIL" || *end == '\0';
  };
  return rows_.size() > 1 &&
         std::all_of(rows_.begin() + 1, rows_.end(), [&](const auto& row) { return is_figure(row[column]); });
}

std::string Table::text() const {
  const std::vector<size_t> width = widths();
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(width[i] - row[i].size(), ' ');
      line += (i ? "  " : "") + (numeric(i) ? space + row[i] : row[i] + space);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string Table::markdown() const {
  std::string out;
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (const std::string& cell : rows_[r]) out += "| " + cell + " ";
    out += "|\n";
    if (r > 0) continue;
    for (size_t i = 0; i < rows_[0].size(); ++i) out += numeric(i) ? "|--:" : "|---";
    out += "|\n";
  }
  return out;
}

std::string significant(double x, int digits) {
  if (!std::isfinite(x)) return "-";
  const int before = x == 0 ? 1 : int(std::floor(std::log10(std::abs(x)))) + 1;
  char text[64];
  snprintf(text, sizeof text, "%.*f", std::clamp(digits - before, 0, 9), x);
  return text;
}

std::string program_version() { return format("vitrine {}, commit {}", VITRINE_VERSION, VITRINE_COMMIT); }

std::string version_text() {
  const int gpus = count_devices(DeviceType::cuda);
  const dnnl_version_t* onednn = dnnl_version();
  return format("vitrine {}\ncommit {}\nCUDA: {}\nemulated CUDA: {}\noneDNN {}.{}.{}, the only matrix library\n",
                VITRINE_VERSION, VITRINE_COMMIT,
                find_backend(DeviceType::cuda) ? format("yes, {} devices", gpus) : std::string("no, CPU-only build"),
                count_devices(DeviceType::emulated) > 0 ? "yes" : "no", onednn->major, onednn->minor, onednn->patch);
}

}  // namespace vitrine::apps
