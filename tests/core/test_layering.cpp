#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "tests/support/catch.h"

/// Who may include what (architecture section 1): core -> ops -> nn -> models -> apps; data uses core and ops. Vendor
/// libraries, intrinsics and __CUDACC__ have their places too.
namespace {

namespace fs = std::filesystem;

/// The layers that files of each top folder may include.
const std::map<std::string, std::set<std::string>>& allowed() {
  static const std::map<std::string, std::set<std::string>> table = {
      {"core", {"core"}},
      {"ops", {"core", "ops"}},
      {"nn", {"core", "ops", "nn"}},
      {"models", {"core", "ops", "nn", "models"}},
      {"data", {"core", "ops", "data"}},
      {"apps", {"core", "ops", "nn", "models", "data", "apps"}},
      {"examples", {"core", "ops", "nn", "models", "data", "examples"}},
  };
  return table;
}

bool starts_with(const std::string& s, const std::string& prefix) { return s.rfind(prefix, 0) == 0; }
bool ends_with(const std::string& s, const std::string& suffix) {
  return s.size() >= suffix.size() && s.compare(s.size() - suffix.size(), suffix.size(), suffix) == 0;
}
std::string first_part(const std::string& path) { return path.substr(0, path.find('/')); }
std::string folder_of(const std::string& path) { return path.substr(0, path.find_last_of('/') + 1); }

/// What is wrong with `#include "target"` in `file`; empty if nothing.
std::string judge_quoted(const std::string& file, const std::string& target) {
  const auto layer = allowed().find(first_part(file));
  if (ends_with(target, "_kernels.h") && starts_with(target, "ops/") && folder_of(file) != folder_of(target) &&
      !starts_with(file, "tests/"))
    return "kernel slots are private to their op's folder";
  if (layer == allowed().end()) return "";  // tests may include everything
  const std::string top = first_part(target);
  if (starts_with(target, "tests/support/")) {
    const bool may = ends_with(file, "_samples.cpp") || first_part(file) == "apps";
    return may ? "" : "only spec files and the program may include tests/support";
  }
  return layer->second.count(top) ? "" : "layer " + layer->first + " may not include " + top;
}

/// The same for `#include <target>`.
std::string judge_angled(const std::string& file, const std::string& target) {
  static const std::set<std::string> vendor_folders = {"ops/matmul/", "ops/linear/", "ops/conv2d/", "ops/pool2d/",
                                                       "ops/batch_norm/"};
  const bool in_core = first_part(file) == "core";
  if (starts_with(target, "catch2/") && file != "tests/support/catch.h" && file != "tests/test_main.cpp")
    return "Catch2 is included through tests/support/catch.h";
  if (ends_with(target, "intrin.h") && !in_core) return "intrinsics belong in core";
  for (const char* vendor : {"dnnl", "oneapi/dnnl", "cublas", "cudnn", "cblas"})
    if (starts_with(target, vendor) && !in_core && !vendor_folders.count(folder_of(file)) &&
        first_part(file) != "apps" && first_part(file) != "tests")
      return "vendor libraries are called only from matmul, linear, conv2d, pool2d and batch_norm";
  return "";
}

std::vector<std::string> violations(const std::string& file, const std::string& text) {
  std::vector<std::string> result;
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::string wrong;
    const size_t at = line.find_first_not_of(" \t");
    if (at == line.npos || line[at] != '#') continue;
    const bool below_ops = first_part(file) == "core" || first_part(file) == "tests";
    if (line.find("__CUDACC__") != line.npos && !below_ops) wrong = "__CUDACC__ is tested only in core";
    if (const size_t include = line.find("include"); include != line.npos) {
      const size_t open = line.find_first_of("\"<", include);
      const size_t close = open == line.npos ? open : line.find_first_of("\">", open + 1);
      if (close != line.npos) {
        const std::string target = line.substr(open + 1, close - open - 1);
        wrong = line[open] == '"' ? judge_quoted(file, target) : judge_angled(file, target);
        if (wrong.empty() && line[open] == '"' && target.find('/') == target.npos)
          wrong = "headers are included from the repository root";
      }
    }
    if (!wrong.empty()) result.push_back(file + ":" + std::to_string(number) + ": " + line.substr(at) + ": " + wrong);
  }
  return result;
}

TEST_CASE("files include only their own layer and those below it", "[unit]") {
  int files = 0;
  for (const char* top : {"core", "ops", "nn", "models", "data", "apps", "examples", "tests"}) {
    const fs::path root = fs::path(VITRINE_SOURCE_DIR) / top;
    if (!fs::exists(root)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu") continue;
      std::ifstream in(entry.path());
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      const std::string file = entry.path().lexically_relative(VITRINE_SOURCE_DIR).generic_string();
      for (const std::string& v : violations(file, text)) FAIL_CHECK(v);
      ++files;
    }
  }
  CHECK(files > 20);
}

/// Adds `file` and all that it includes from this repository, directly or not.
void add_reached(const std::string& file, std::set<std::string>& reached) {
  std::ifstream in(fs::path(VITRINE_SOURCE_DIR) / file);
  if (!in || !reached.insert(file).second) return;
  const std::string begin = "#include \"";
  for (std::string line; std::getline(in, line);)
    if (starts_with(line, begin)) add_reached(line.substr(begin.size(), line.rfind('"') - begin.size()), reached);
}

// nvcc hands its host compiler another text than it read, in which vectors of lanes do not compile.
TEST_CASE("kernel files do not reach the CPU's vectors", "[unit]") {
  int files = 0;
  for (const char* top : {"core", "ops", "tests"})
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(VITRINE_SOURCE_DIR) / top)) {
      if (entry.path().extension() != ".cu") continue;
      const std::string file = entry.path().lexically_relative(VITRINE_SOURCE_DIR).generic_string();
      std::set<std::string> reached;
      add_reached(file, reached);
      CAPTURE(file);
      CHECK(reached.size() > 1);
      CHECK(reached.count("core/simd.h") == 0);
      ++files;
    }
  CHECK(files > 20);
}

TEST_CASE("a file that reaches up is found", "[unit]") {
  CHECK(violations("core/a.h", "#include \"ops/softmax/softmax.h\"\n").size() == 1);
  CHECK(violations("ops/a/a.cpp", "#pragma once\n#include \"nn/linear.h\"\n").size() == 1);
  CHECK(violations("ops/a/a.cpp", "#include \"ops/b/b_kernels.h\"\n").size() == 1);
  CHECK(violations("data/a.cpp", "#include \"nn/linear.h\"\n").size() == 1);
  CHECK(violations("models/a.cpp", "#  include \"data/image.h\"\n").size() == 1);
  CHECK(violations("ops/a/a.cpp", "#include \"tests/support/op_spec.h\"\n").size() == 1);
  CHECK(violations("ops/a/a_cpu.cpp", "#include <immintrin.h>\n").size() == 1);
  CHECK(violations("ops/a/a_cpu.cpp", "#include <dnnl.hpp>\n").size() == 1);
  CHECK(violations("ops/a/a_cuda.cu", "#ifdef __CUDACC__\n").size() == 1);
  CHECK(violations("ops/a/a.cpp", "#include \"a.h\"\n").size() == 1);
  CHECK(violations("ops/a/a.cpp", "#include <vector>\n#include \"core/tensor.h\"\n#include \"ops/b/b.h\"\n").empty());
  CHECK(violations("ops/a/a_samples.cpp", "#include \"tests/support/op_spec.h\"\n").empty());
  CHECK(violations("apps/train/train.cpp", "#include \"models/deit/deit.h\"\n#include \"data/loader.h\"\n").empty());
}

}  // namespace
