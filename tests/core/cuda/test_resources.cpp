#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "tests/support/catch.h"

/// The table of registers, shared memory and spills in core/cuda/README.md (tests/resources.py) is of the kernels that
/// there are.
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The names of the kernels that a source defines.
std::set<std::string> kernels_in(const std::string& source) {
  static const std::regex kernel(R"(__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\()");
  std::set<std::string> names;
  for (std::sregex_iterator m(source.begin(), source.end(), kernel), end; m != end; ++m) names.insert((*m)[1]);
  return names;
}

TEST_CASE("the table of kernel resources has every kernel file and kernel, and no others", "[unit]") {
  const fs::path root = VITRINE_SOURCE_DIR;
  const std::string readme = text_of(root / "core/cuda/README.md");
  static const std::regex row(R"(\| (\S+\.cu) \| (\w+) \| \d+ \|)");
  std::set<std::pair<std::string, std::string>> rows;
  std::set<std::string> files, names;
  for (std::sregex_iterator m(readme.begin(), readme.end(), row), end; m != end; ++m) {
    rows.insert({(*m)[1], (*m)[2]});
    files.insert((*m)[1]), names.insert((*m)[2]);
  }
  std::set<std::string> sources, kernels;
  for (const char* folder : {"core/kernels", "core/cuda", "ops"})
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".cu" && extension != ".h") continue;
      const std::string name = fs::relative(entry.path(), root).generic_string();
      const std::set<std::string> own = kernels_in(text_of(entry.path()));
      kernels.insert(own.begin(), own.end());
      if (extension != ".cu") continue;
      sources.insert(name);
      for (const std::string& kernel : own) {
        INFO(name << ": " << kernel << " has no row: run tests/resources.py");
        CHECK(rows.count({name, kernel}) == 1);
      }
    }
  CHECK(files == sources);
  CHECK(names == kernels);
}

TEST_CASE("kernels are found by their definitions", "[unit]") {
  CHECK(kernels_in("__global__ void a(int* p) {") == std::set<std::string>{"a"});
  CHECK(kernels_in("template <class T>\n__global__ void __launch_bounds__(kWarp* 8, f(D) ? 3 : 0)\n    b(T x) {")
            .size() == 1);
  CHECK(kernels_in("// a __global__ function; void c()").empty());
}

}  // namespace
