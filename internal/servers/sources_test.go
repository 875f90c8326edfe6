package servers

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestArchive(t *testing.T) {
	tests := map[string]struct {
		file, text, codename string
		want                 string // the sources file for suite sid; "" for an error
	}{
		"one line": {
			"sources.list", "# a comment\ndeb-src http://mirror.test/debian bookworm main\n" +
				"deb http://security.test/debian-security bookworm-security main\n" +
				"deb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg] " +
				"http://mirror.test/debian bookworm main contrib # ours\n",
			"bookworm",
			"Types: deb\nURIs: http://mirror.test/debian\nSuites: sid\nComponents: main\n" +
				"architectures: amd64\nsigned-by: /k/a.gpg /k/b.gpg\n",
		},
		"deb822": {
			"sources.list.d/debian.sources",
			"# a comment\nTypes: deb deb-src\n# another\nURIs: " +
				"http://mirror.test/debian http://b.test\n" +
				"Suites: bookworm bookworm-updates\nComponents: main non-free\nSigned-By: " +
				"/k/a.gpg\n\n" +
				"Types: deb\nURIs: http://security.test\nSuites: bookworm-security\nComponents: " +
				"main\n",
			"bookworm",
			"Types: deb\nURIs: http://mirror.test/debian\nSuites: sid\nComponents: main\n" +
				"Signed-By: /k/a.gpg\n",
		},
		"key in the file": {
			"sources.list.d/ubuntu.sources",
			"Types: deb\nURIs: http://mirror.test/ubuntu\nSuites: noble\nComponents: " +
				"main universe\n" +
				"Signed-By:\n -----BEGIN\n .\n abc\n -----END\n",
			"noble",
			"Types: deb\nURIs: http://mirror.test/ubuntu\nSuites: sid\nComponents: " +
				"main universe\n" +
				"Signed-By: \n -----BEGIN\n .\n abc\n -----END\n",
		},
		"names the release": {
			"sources.list", "deb http://mirror.test/debian testing main", "forky",
			"Types: deb\nURIs: http://mirror.test/debian\nSuites: sid\nComponents: main\n",
		},
		"disabled": {
			"sources.list.d/a.sources",
			"Enabled: no\nTypes: deb\nURIs: http://m.test\nSuites: noble\nComponents: main\n",
			"noble",
			"",
		},
		"sources only": {
			"sources.list",
			"deb-src http://mirror.test/debian bookworm main\n",
			"bookworm",
			"",
		},
		"other vendors": {
			"sources.list.d/x.list",
			"deb http://vendor.test/apt bookworm vendor\n",
			"bookworm",
			"",
		},
		"nothing": {"sources.list", "", "bookworm", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, tt.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			sources, err := readSources(dir)
			if err != nil {
				t.Fatal(err)
			}
			s, err := findArchive(sources, tt.codename)
			if (err != nil) != (tt.want == "") {
				t.Fatalf("error is %v", err)
			}
			if err == nil && s.forSuite("sid").text != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", s.forSuite("sid").text, tt.want)
			}
		})
	}
}

func TestSuites(t *testing.T) {
	debian := machine{distribution: "debian", codename: "trixie"}
	if got := debian.suites(stable); !reflect.DeepEqual(
		got, []string{"bookworm", "trixie", "stable"},
	) {
		t.Errorf("stable suites are %v", got)
	}
	ubuntu := machine{distribution: "ubuntu", codename: "noble"}
	if got := ubuntu.suites(newest); !reflect.DeepEqual(got, []string{"noble"}) {
		t.Errorf("newest suites are %v", got)
	}
}

func TestChoose(t *testing.T) {
	have := []string{
		"mysql-server-core-8.0", "mysql-server-core-8.4", "mysql-server-core-10.0", "redis-server",
		"redis-server-7", "valkey-server-doc",
	}
	got := choosePackages([]string{"mysql-server-core", "redis-server", "valkey-server"}, have)
	if want := []string{"mysql-server-core-10.0", "redis-server"}; !reflect.DeepEqual(got, want) {
		t.Errorf("chose %v, want %v", got, want)
	}
}
