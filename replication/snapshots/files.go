package snapshots

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
	"rowfall/replication/replog"
)

const (
	namePrefix  = "snapshot-"
	nameSuffix  = ".rdb"
	newSnapshot = "snapshot.new" // being written, or complete and not in its place yet
	newResync   = "resync.new"   // the same for the data of a full resync from the upstream
)

// File describes a snapshot file. The zero File means that no file exists.
type File struct {
	At   replog.Offset // the file holds everything up to it
	Size int64         // bytes
	Time time.Time     // when it was completed
	ID   identity.ID   // replication id that a file found at the start names, or empty

	live int64 // bytes of memory that its data took; 0: not known
}

// IsZero reports whether there is no file.
func (f File) IsZero() bool { return f.Time.IsZero() }

// Name returns the name of the file of an offset.
func Name(at replog.Offset) string { return namePrefix + at.String() + nameSuffix }

// Path returns the path of the file of an offset.
func (s *Store) Path(at replog.Offset) string { return filepath.Join(s.c.Dir, Name(at)) }

// UnfinishedNames returns the names of files that an interrupted run may leave.
func UnfinishedNames() []string {
	return []string{newSnapshot, newResync, disk.Temporary(newResync)}
}

// Newest returns the newest snapshot file.
func (s *Store) Newest() File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// Forget makes the store start as in a directory without snapshots. The files stay.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = File{}
}

// UnreadableError reports that every snapshot file of the directory is damaged.
type UnreadableError struct {
	Newest replog.Offset // of the newest file
	err    error
}

func (e *UnreadableError) Error() string { return e.err.Error() }
func (e *UnreadableError) Unwrap() error { return e.err }

// Load loads the newest snapshot that can be read, and makes it Newest. Only a crash between
// two steps leaves more than one file. Without any file the keyspace is empty. It returns an
// *UnreadableError if all files are damaged.
func (s *Store) Load(newKeyspace func() *keyspace.Keyspace) (*keyspace.Keyspace, error) {
	files, err := s.list()
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	slices.Reverse(files)
	var faults []error
	damaged := true
	for _, at := range files {
		keys := newKeyspace()
		file, err := s.load(at, keys)
		if err == nil {
			if len(faults) > 0 {
				s.c.Logger.Warn().Err(errors.Join(faults...)).Str("file", s.Path(at)).
					Msg("the newest snapshot is not usable: an older one is loaded")
			}
			s.mu.Lock()
			s.newest = file
			s.mu.Unlock()
			return keys, nil
		}
		faults = append(faults, err)
		damaged = damaged && errors.As(err, new(*FileError))
	}
	if len(faults) == 0 {
		return newKeyspace(), nil
	}
	err = fmt.Errorf("%w; restore the file, or empty %s to start without data",
		errors.Join(faults...), s.c.Dir)
	if damaged {
		err = &UnreadableError{Newest: files[0], err: err}
	}
	return nil, err
}

// load loads one file. It returns a *FileError if the file itself is damaged.
func (s *Store) load(at replog.Offset, keys *keyspace.Keyspace) (file File, err error) {
	path := s.Path(at)
	if at > replog.MaxBegin {
		return file, &FileError{fmt.Errorf(
			"load snapshot %s: its offset is more than %d, where no log can begin",
			path, replog.MaxBegin)}
	}
	f, err := s.c.FS.Open(path, os.O_RDONLY)
	if err != nil {
		return file, fmt.Errorf("load snapshot: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	size, err := f.Size()
	if err != nil {
		return file, fmt.Errorf("load snapshot: %w", err)
	}
	aux, err := rdb.Read(bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 1<<20), keys.Loader())
	if err != nil {
		return file, &FileError{fmt.Errorf("load snapshot %s: %w", path, err)}
	}
	if aux.ReplID != "" && aux.Offset != at {
		return file, &FileError{fmt.Errorf(
			"load snapshot %s: its contents are of offset %d", path, aux.Offset)}
	}
	if aux.Empty > 0 {
		s.c.Logger.Warn().Int("keys", aux.Empty).Str("file", path).
			Msg("the snapshot has collections without elements; they are skipped")
	}
	made := s.opened
	if aux.CTime > 0 {
		made = time.Unix(aux.CTime, 0)
	}
	id, err := identity.ParseID(aux.ReplID)
	if err != nil {
		id = "" // a malformed id counts as a missing id
	}
	return File{At: at, Size: size, live: keys.Memory().Live, Time: made, ID: id}, nil
}

// LockReplace prevents a file from taking another's place until unlock is called.
func (s *Store) LockReplace() (unlock func()) {
	s.replacing.Lock()
	return s.replacing.Unlock
}

// InstallResync makes the file of WriteResync the newest snapshot, of offset at and of data
// that take live bytes of memory. It may be repeated after a crash. The caller holds
// LockReplace, if Run has begun, and calls RemoveOthers.
func (s *Store) InstallResync(at replog.Offset, live int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := s.move(newResync, at)
	if err == nil {
		file.live = live
		s.newest, s.unreadable, s.lacked = file, nil, shortage{}
	}
	return err
}

// move renames a complete file to the name of its offset. It may be repeated: if the file has
// its name already, it stays there.
func (s *Store) move(name string, at replog.Offset) (File, error) {
	path := s.Path(at)
	err := s.c.FS.Rename(filepath.Join(s.c.Dir, name), path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return File{}, fmt.Errorf("install snapshot: %w", err)
	}
	f, err := s.c.FS.Open(path, os.O_RDONLY)
	if err != nil {
		return File{}, fmt.Errorf("install snapshot: %w", err)
	}
	size, err := f.Size()
	if err = errors.Join(err, f.Close(), s.c.FS.SyncDir(s.c.Dir)); err != nil {
		return File{}, fmt.Errorf("install snapshot: %w", err)
	}
	return File{At: at, Size: size, Time: time.Now()}, nil
}

// RemoveOthers removes all snapshot files but that of one offset, durably: of several files a start
// would load the one with the highest offset, which may be of older data.
func (s *Store) RemoveOthers(keep replog.Offset) error {
	files, err := s.list()
	if err != nil {
		return err
	}
	removed := false
	for _, at := range files {
		if at == keep {
			continue
		}
		if err := s.c.FS.Remove(s.Path(at)); err != nil {
			return fmt.Errorf("remove old snapshot: %w", err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	if err := s.c.FS.SyncDir(s.c.Dir); err != nil {
		return fmt.Errorf("remove old snapshot: %w", err)
	}
	return nil
}

// list returns the offsets of the directory's snapshot files, in no order.
func (s *Store) list() ([]replog.Offset, error) {
	names, err := s.c.FS.ReadDir(s.c.Dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var list []replog.Offset
	for _, name := range names {
		number, found := strings.CutPrefix(name, namePrefix)
		number, ok := strings.CutSuffix(number, nameSuffix)
		if !found || !ok {
			continue
		}
		at, err := replog.ParseOffset(number)
		if err != nil || Name(at) != name {
			return nil, fmt.Errorf("list snapshots: %s is not named by an offset; move it away",
				filepath.Join(s.c.Dir, name))
		}
		list = append(list, at)
	}
	return list, nil
}
